"""Under which terms the data sets are given out, as their publishers say it: it goes into exported networks."""

_LICENCES = {
    "digits": "CC BY 4.0 (UCI, Optical Recognition of Handwritten Digits)",
    "mnist": "CC BY-SA 3.0 (LeCun, Cortes)",
    "fashion_mnist": "MIT (Zalando)",
    "cifar10": "none stated; its author asks to be cited (Krizhevsky, 2009)",
    "cifar100": "none stated; its author asks to be cited (Krizhevsky, 2009)",
    "svhn": "non-commercial use only (Netzer et al., 2011)",
    "imagenet": "non-commercial research and education only (image-net.org)",
}


def licence_of(source: str) -> str:
    """Terms of a source of `data.source`; of the user's own data, that they are not known here."""
    return _LICENCES.get(source, "not known: the user's own data")
