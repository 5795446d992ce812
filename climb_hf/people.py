"""Ages and sexes as releases write them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

# PhysioNet's re-releases hold 92 for every age above 89, PTB-XL's own release holds 300.
AGE_CAP_YEARS = 90.0
_CAPPED_AGES = (92.0, 300.0)


def age_fields(value: Any, flags: tuple[str, ...] = ()) -> dict[str, Any]:
    """Returns `age_years` and `flags` for a released age; unknown and negative ages are None.

    An age that stands for "above 89" becomes 90 years with the flag `age_capped`.
    """
    try:
        age = float(str(value).strip() or "nan")
    except ValueError:
        age = math.nan
    if age in _CAPPED_AGES:
        return {"age_years": AGE_CAP_YEARS, "flags": (*flags, "age_capped")}
    return {"age_years": age if math.isfinite(age) and age >= 0 else None, "flags": flags}


def years_of(text: str | None) -> float | None:
    """Returns an age in years as a table writes it, or None for a blank, a word or below 0."""
    try:
        age = float((text or "").strip() or "nan")
    except ValueError:
        return None
    return age if math.isfinite(age) and age >= 0 else None


def sex_of(value: str | None) -> str | None:
    """Returns `male`, `female` or None for what releases write (Male, F, Unknown, NaN)."""
    words = {"m": "male", "male": "male", "f": "female", "female": "female"}
    return words.get((value or "").strip().lower())


def person_of(row: Mapping[str, str | None]) -> dict[str, Any]:
    """Returns `age_years` and `sex` of a table's row, whose columns are called Age... and Gender.

    Headers add a unit to the age, in another line of the same cell even.
    """
    age = next((value for name, value in row.items() if str(name).startswith("Age")), None)
    return {"age_years": years_of(age), "sex": sex_of(row.get("Gender"))}
