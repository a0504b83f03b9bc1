from lessons.course.exercises import Mistake

MISTAKES = [
    Mistake("graph not detached", "discriminator(sr.detach())", "discriminator(sr)"),
    Mistake(
        "left-over gradient",
        "    for parameter in adam.parameters.values():\n        parameter.grad = None\n",
        "",
    ),
    # cleared only after a player's own move: what G's move leaves in D stays there
    Mistake(
        "left-over gradient",
        "        parameter.grad = None\n    loss.backward()\n"
        "    adam.step([parameter.grad for parameter in adam.parameters.values()], rate)\n",
        "        pass\n    loss.backward()\n"
        "    adam.step([parameter.grad for parameter in adam.parameters.values()], rate)\n"
        "    for parameter in adam.parameters.values():\n        parameter.grad = None\n",
    ),
    Mistake(
        "stale D",
        "    update(adam_d, loss_d, rate)\n"
        "    with held(discriminator):\n"
        "        loss_g = PixelMSE(sr, hr) + weight * NonSaturatingLoss(discriminator(sr))\n",
        "    with held(discriminator):\n"
        "        loss_g = PixelMSE(sr, hr) + weight * NonSaturatingLoss(discriminator(sr))\n"
        "    update(adam_d, loss_d, rate)\n",
    ),
    Mistake(
        "order",
        "    update(adam_d, loss_d, rate)\n"
        "    with held(discriminator):\n"
        "        loss_g = PixelMSE(sr, hr) + weight * NonSaturatingLoss(discriminator(sr))\n"
        "    update(adam_g, loss_g, rate)\n",
        "    with held(discriminator):\n"
        "        loss_g = PixelMSE(sr, hr) + weight * NonSaturatingLoss(discriminator(sr))\n"
        "    update(adam_g, loss_g, rate)\n"
        "    update(adam_d, loss_d, rate)\n",
    ),
    # both players move down L_G
    Mistake(
        "moved twice",
        "    update(adam_g, loss_g, rate)\n",
        "    update(adam_g, loss_g, rate)\n"
        "    adam_d.step([parameter.grad for parameter in adam_d.parameters.values()], rate)\n",
    ),
    Mistake("D not held", "    with held(discriminator):\n", "    if True:\n"),
    Mistake(
        "adversarial term missing",
        "NonSaturatingLoss(discriminator(sr))",
        "NonSaturatingLoss(discriminator(sr.detach()))",
    ),
    Mistake("adversarial sign", "hr) + weight", "hr) - weight"),
    Mistake("weight missing", "weight * NonSaturatingLoss(discriminator", "NonSaturatingLoss(discriminator"),
    Mistake("weight misplaced", "PixelMSE(sr, hr) + weight * Non", "weight * PixelMSE(sr, hr) + Non"),
    Mistake("D in eval mode", "    with held(discriminator):\n", "    discriminator.eval()\n    if True:\n"),
    Mistake(
        "D held in its own move",
        "    loss_d = DiscriminatorLoss(discriminator(hr), discriminator(sr.detach()))\n",
        "    with held(discriminator):\n"
        "        loss_d = DiscriminatorLoss(discriminator(hr), discriminator(sr.detach()))\n",
    ),
    Mistake(
        "losses again",
        "    return loss_d.item(),",
        "    loss_d = DiscriminatorLoss(discriminator(hr), discriminator(sr.detach()))\n    return loss_d.item(),",
    ),
    Mistake("type", "return loss_d.item(), loss_g.item()", "return loss_d, loss_g"),
    Mistake("type", "[parameter.grad for", "[parameter.grad.data for"),
    Mistake("SR not once", "PixelMSE(sr, hr)", "PixelMSE(generator(lr), hr)"),
    Mistake("sign", "DiscriminatorLoss(discriminator(hr)", "-DiscriminatorLoss(discriminator(hr)"),
    Mistake("swapped", "return loss_d.item(), loss_g.item()", "return loss_g.item(), loss_d.item()"),
]
