"""Wrong solutions, and the diagnosis that each must get."""

from lessons.course.exercises import Mistake

LOSS_D = "loss = softplus(-real).mean() + softplus(fake).mean()"
LOSS_G = "value = softplus(-fake).mean()\n    slope = -sigmoid(-fake) / fake.size"

MISTAKES = [
    Mistake("log of zero", LOSS_D, "loss = -(np.log(sigmoid(real)).mean() + np.log(1 - sigmoid(fake)).mean())"),
    Mistake("clipped", LOSS_D, "loss = -(np.log(sigmoid(real) + 1e-8).mean() + np.log(sigmoid(-fake) + 1e-8).mean())"),
    Mistake("overflow", "np.maximum(z, 0) + np.log1p(np.exp(-abs(z)))", "np.log(1 + np.exp(z))"),
    Mistake("overflow", "np.exp(np.minimum(z, 0)) / (1 + np.exp(-abs(z)))", "np.exp(z) / (1 + np.exp(z))"),
    Mistake("sum instead of mean", LOSS_D, "loss = softplus(-real).sum() + softplus(fake).sum()"),
    Mistake("not divided by n", "by_fake = sigmoid(fake) / fake.size", "by_fake = sigmoid(fake)"),
    Mistake("divided by another n", "sigmoid(-real) / real.size", "sigmoid(-real) / (real.size + fake.size)"),
    Mistake("divided by another n", "sigmoid(fake) / fake.size", "sigmoid(fake) / real.size"),
    Mistake("labels swapped", LOSS_D, "loss = softplus(real).mean() + softplus(-fake).mean()"),
    Mistake("sign", "by_real = -sigmoid(-real)", "by_real = sigmoid(-real)"),
    Mistake("sign", LOSS_D, "loss = -softplus(-real).mean() - softplus(fake).mean()"),
    Mistake("saturating", LOSS_G, "value = -softplus(fake).mean()\n    slope = -sigmoid(fake) / fake.size"),
    Mistake("D's side", LOSS_G, "value = softplus(fake).mean()\n    slope = sigmoid(fake) / fake.size"),
    Mistake("at the probability", "slope = -sigmoid(-fake) / fake.size", "slope = -1 / sigmoid(fake) / fake.size"),
    Mistake("one mean", LOSS_D, "loss = np.concatenate([softplus(-real), softplus(fake)]).mean()"),
    Mistake("wrong tail", "slope = -sigmoid(-fake)", "slope = -sigmoid(fake)"),
    Mistake("other label", "by_fake = sigmoid(fake)", "by_fake = -sigmoid(-fake)"),
    Mistake("swapped", "return loss, by_real, by_fake", "return loss, by_fake, by_real"),
]
