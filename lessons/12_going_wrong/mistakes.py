from lessons.course.exercises import Mistake

MISTAKES = [
    Mistake("not recorded", ", create_graph=True", ""),
    Mistake("norm not squared", "(slopes**2).sum((1, 2, 3)).mean()", "((slopes**2).sum((1, 2, 3)) ** 0.5).mean()"),
    Mistake("whole batch", "(slopes**2).sum((1, 2, 3)).mean()", "(slopes**2).sum() ** 0.5"),
    Mistake("summed over the batch", "(slopes**2).sum((1, 2, 3)).mean()", "(slopes**2).sum()"),
    Mistake("mean over the samples", "(slopes**2).sum((1, 2, 3)).mean()", "(slopes**2).mean()"),
    Mistake("mean over channels", "(slopes**2).sum((1, 2, 3)).mean()", "(slopes**2).sum((1, 2)).mean()"),
    Mistake("sum and mean exchanged", "(slopes**2).sum((1, 2, 3)).mean()", "(slopes**2).mean((1, 2, 3)).sum()"),
    Mistake("constant factor", "gamma / 2 *", "gamma *"),
    Mistake("at SR", "Tensor(hr.data, requires_grad=True)", "Tensor(sr.data, requires_grad=True)"),
    Mistake("other images", "Tensor(hr.data, requires", "Tensor((hr.data + sr.data) / 2, requires"),
    Mistake("at SR", "return grad(r1_penalty(discriminator, hr, sr", "return grad(r1_penalty(discriminator, sr, hr"),
    Mistake("of the logits", "grad(r1_penalty(discriminator, hr, sr, gamma),", "grad(discriminator(hr).sum(),"),
    # detached from its graph, so that the result of the first backward pass is a constant
    Mistake("not recorded", "(slopes**2)", "(slopes.detach()**2)"),
    Mistake("logits averaged", "discriminator(x).sum()", "discriminator(x).mean()"),
    Mistake(
        "gradient penalty", "(slopes**2).sum((1, 2, 3)).mean()", "(((slopes**2).sum((1, 2, 3)) ** 0.5 - 1) ** 2).mean()"
    ),
    # the penalty itself instead of its gradients
    Mistake(
        "type",
        "grad(r1_penalty(discriminator, hr, sr, gamma), discriminator.parameters())",
        "r1_penalty(discriminator, hr, sr, gamma)",
    ),
    Mistake("sign", "return grad(r1_penalty(", "return grad(-r1_penalty("),
]
