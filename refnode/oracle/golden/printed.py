"""A ball as text: a decimal midpoint without digits beyond the radius, and a radius that has been rounded up.

Rounding the midpoint moves the ball; the radius grows by as much, exactly, so that the printed ball contains the other.
"""

import re
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

from refnode.oracle.decimals import EXACT, float_above

RADIUS_BITS = 9  # of a printed radius: two hexadecimal digits after the point


def printed(mid: Decimal, radius: Decimal, finest: int = -400) -> tuple[str, str]:
    """Midpoint and radius as text.

    Parameters
    ----------
    mid, radius    the ball
    finest         the power of ten of the last place that may be printed, however small the radius

    Returns
    -------
    mid       decimal, its last digit at the place of the radius's first; "0" where that is all there is
    radius    C99 hexadecimal float, rounded up

    >>> printed(Decimal("0.123456789"), Decimal("3e-5"))
    ('1.2346e-1', '0x1.18p-15')
    """
    with localcontext(EXACT):
        last = finest if radius == 0 else max(finest, radius.adjusted())
        rounded = mid
        if mid != 0 and mid.as_tuple().exponent < last:  # type: ignore[operator]
            rounded = mid.quantize(Decimal(1).scaleb(last), ROUND_HALF_EVEN)
        return scientific(rounded), hexadecimal_above(radius + abs(rounded - mid))


def scientific(value: Decimal) -> str:
    """A decimal as d.ddde-n, all its digits kept.

    >>> scientific(Decimal("-120.50")), scientific(Decimal("0.00"))
    ('-1.2050e+2', '0')
    """
    if value == 0:
        return "0"
    sign, digits, _ = value.as_tuple()
    text = "".join(map(str, digits))
    point = text[0] + ("." + text[1:] if len(text) > 1 else "")
    return f"{'-' if sign else ''}{point}e{value.adjusted():+d}"


def hexadecimal_above(value: Decimal) -> str:
    """A float64 of about RADIUS_BITS bits that is not below a decimal >= 0, as a C99 hexadecimal float.

    >>> hexadecimal_above(Decimal("0.1")), hexadecimal_above(Decimal(0))
    ('0x1.9ap-4', '0x0p+0')
    """
    return re.sub(r"\.?0*p", "p", float_above(value, RADIUS_BITS).hex())
