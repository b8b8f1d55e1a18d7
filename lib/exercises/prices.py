"""Exercises of lesson 06: spend at a price, read a price off four runs, know when there is none."""

import numpy as np

from lib.exercises import Exercise

MARKETS = (30, 60, 150, 400)  # words per image; the first is so low that all words are sold


def _hills():
    """Errors (images, words): words tell a part of what images tell, more or less of it."""
    for noise, blur in ((9, 4), (25, 2)):

        def error(images, words, noise=noise, blur=blur):
            return 1 / (images + words / noise) + blur / images

        yield error


def _lowest(error, price):
    """The lowest error that 20 images and 1,000 words can be traded for, and the basket."""
    images = np.linspace(0.01, 20 + 1000 / price, 200_001)
    errors = error(images, 1000 + (20 - images) * price)
    best = errors.argmin()
    return errors[best], images[best]


def _judge_spend(spend):
    for error in _hills():
        for price in MARKETS:
            answer = np.asarray(spend(error, price), dtype=float)
            if answer.shape != (2,):
                hint = f"your answer has the shape {answer.shape}."
                return "shape", hint, "Return two numbers: images, words."
            images, words = answer
            wrong = _not_best(error, price, images, words)
            if wrong:
                return wrong
    return f"at {len(MARKETS)} prices in two valleys"


def _not_best(error, price, images, words):
    """The verdict on a basket that is not the best one, or None."""
    at = f"At {price} words per image"
    budget, spent = 20 * price + 1000, images * price + words
    if not np.isfinite([images, words]).all() or images <= 0 or words < -1e-6 * budget:
        hint = f"{at} your basket is {images:.4g} images and {words:.4g} words."
        return "owed", hint, "You need some images, and cannot sell words that you do not own."
    if spent > 1.001 * budget:
        hint = f"{at} your basket costs {spent:.0f} words, and you own {budget}."
        return "budget", hint, "What you own is worth 20 x price + 1000 words: stay on that line."
    lowest, best = _lowest(error, price)
    if error(images, words) <= 1.001 * lowest:
        return None
    if spent < 0.99 * budget:
        hint = f"{at} you leave {budget - spent:.0f} words' worth unspent."
        return "unspent", hint, "More of anything lowers the error: words = 1000 + (20 - n) price."
    if abs(images - 20) < 0.01:
        return (
            "kept",
            f"{at} you keep what you have.",
            "Trade until your own price is the market's.",
        )
    if words < 1:
        hint = f"{at} you sell all words, and one image fewer would be better."
        return "only images", hint, "Words are of use, too, until your own price is the market's."
    if images < best:
        hint = f"{at} you hold too few images: {images:.1f}, where {best:.1f} would be best."
        return "few", hint, "Is your own price, slope over slope, still above the market's?"
    hint = f"{at} you hold too many images: {images:.1f}, where {best:.1f} would be best."
    return "many", hint, "Is your own price, slope over slope, already below the market's?"


N_IMAGES, N_WORDS, OF_IMAGE, OF_WORD = 6, 200, 4.0, 0.02  # the true price is 200 words
N_DRAWS, N_SETS = 24, 300


def _four_runs(k):
    """Accuracies (draws, 4) of data set k: each draw has luck of its own, in all four settings."""
    rng = np.random.default_rng([6, k])
    up, right = OF_IMAGE * N_IMAGES / 2, OF_WORD * N_WORDS / 2
    luck = 4 * rng.standard_normal((N_DRAWS, 1))
    return 30 + np.array([up, -up, right, -right]) + luck + rng.standard_normal((N_DRAWS, 4))


def _usual_width(runs):
    """Width of a 95 % interval, as a share of the price, by linearising the quotient."""
    of_image, of_word = (runs[:, ::2] - runs[:, 1::2]).T
    price = of_image.mean() / of_word.mean()
    error = (of_image - price * of_word).std(ddof=1) / np.sqrt(len(runs))
    return 2 * 2.07 * error / of_image.mean()  # Student's factor for 23 degrees of freedom


def _judge_read(read):
    truth, widths, held = OF_IMAGE / OF_WORD, [], []
    for k in range(N_SETS):
        runs = _four_runs(k)
        answer = np.asarray(read(runs, N_IMAGES, N_WORDS), dtype=float)
        wrong = _no_price(answer, runs)
        if wrong:
            return wrong
        price, low, high = answer
        widths.append((high - low) / price / _usual_width(runs))
        held.append(low <= truth <= high)
    width, share = np.median(widths), np.mean(held)
    if width > 1.8:
        hint = f"your interval is {width:.1f} times as wide as it need be."
        return "wide", hint, "Draw whole rows again, all four settings together, and average them."
    if width > 1.25:
        hint = f"your interval holds the truth in {share:.0%} of the data sets: more than you said."
        return (
            "loose",
            hint,
            "Redraw rows, take ONE quotient of means, and leave out 2.5 % per side.",
        )
    if share < 0.915:
        hint = f"your 95 % interval holds the true price in {share:.0%} of the data sets."
        return "narrow", hint, "It should tell how uncertain the price of the MEAN over draws is."
    return f"the interval holds the true price in {share:.0%} of the data sets"


def _no_price(answer, runs):
    """The verdict on what is not the price of these runs with an interval around it, or None."""
    if answer.shape != (3,) or not np.isfinite(answer).all():
        hint = f"your answer is {answer}."
        return "shape", hint, "Return three finite numbers: price, low, high."
    price, low, high = answer
    mean = runs.mean(0)
    quotient = (mean[0] - mean[1]) / (mean[2] - mean[3])
    right = quotient / N_IMAGES * N_WORDS
    singles = (runs[:, 0] - runs[:, 1]) / (runs[:, 2] - runs[:, 3]) / N_IMAGES * N_WORDS
    for value, hint, fuller in [
        (1 / right, "this is images per word.", "Divide what an image brings by what a word does."),
        (quotient, "differences are not slopes.", "Divide each by its number of images or words."),
        (-right, "the sign is turned.", "More minus fewer, for images and for words."),
        (quotient * N_IMAGES / N_WORDS, "you multiply by the numbers.", "A slope is per image."),
        (singles.mean(), "you average quotients.", "Average over draws first: one quotient."),
    ]:
        if np.isclose(price, value, rtol=1e-6) and not np.isclose(price, right, rtol=1e-6):
            return hint, hint, fuller
    if np.isclose(answer[1:], right, rtol=0.02).any() and not np.isclose(price, right, rtol=0.02):
        return "order", "the price is not the first of your three numbers.", "price, low, high."
    if not np.isclose(price, right, rtol=0.02):
        hint = f"in one data set your price is {price:.4g}, we have {right:.4g}."
        return "price", hint, "Average over draws, take two slopes, then one over the other."
    if not low <= price <= high:
        hint = f"your price {price:.4g} is not in your interval, {low:.4g} to {high:.4g}."
        return "outside", hint, "Return price, low, high; the interval is one for the price."
    return None


CASES = [  # what an image brings, what a word brings, what can be said
    ((3.0, 5.0), (0.010, 0.020), "price"),
    ((3.0, 5.0), (-0.002, 0.004), "at least"),
    ((3.0, 5.0), (-0.012, -0.002), "none"),
    ((-0.5, 1.0), (0.010, 0.020), "none"),
    ((-0.5, 1.0), (-0.002, 0.004), "none"),
    ((-2.0, -1.0), (-0.012, -0.002), "none"),
]
KINDS = ("price", "at least", "none")


def _judge_kind(kind):
    said = [kind(image, word) for image, word, _ in CASES]
    wrong = [k for k, (mine, case) in enumerate(zip(said, CASES)) if mine != case[2]]
    if not wrong:
        return None
    first = wrong[0]
    image, word, right = CASES[first]
    case = f"an image brings {image}, a word {word}: "
    if said[first] not in KINDS:
        hint = f"{case}you say {said[first]!r}."
        return "words", hint, f"Accepted are {', '.join(map(repr, KINDS))}."
    hints = [
        ("both help for sure.", "Divide the two slopes: that is the price."),
        ("the word may bring nothing.", "The quotient may be infinite, and is at least 3 / 0.004."),
        ("the word harms.", "Would you give up an image, and take more of what harms?"),
        ("the image is not shown to help.", "The price may be zero: there is nothing to pay for."),
        ("neither is shown to help.", "Zero over zero may be anything."),
        ("both harm.", "The quotient is positive, and yet nobody would buy either."),
    ]
    return first, f"{case}{hints[first][0]}", hints[first][1]


spend = Exercise("spend", _judge_spend, ["error", "price"])
read_price = Exercise("read_price", _judge_read, ["runs", "n_images", "n_words"])
kind_of_price = Exercise("kind_of_price", _judge_kind, ["image", "word"])
