"""Makes digits.npz from the digits that scikit-learn ships: 1,797 images of 8x8 pixels from 0 to 16, and their labels.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998
(the test set), https://doi.org/10.24432/C50P49, licensed under CC BY 4.0; shipped by scikit-learn (BSD-3-Clause).

Run it with scikit-learn installed: python make_digits.py
"""

from pathlib import Path

import numpy as np


def main() -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    path = Path(__file__).with_name("digits.npz")
    np.savez_compressed(path, images=digits.data.astype(np.uint8), labels=digits.target.astype(np.int64))
    print(f"{path.name}: {len(digits.target)} images, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
