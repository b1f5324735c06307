"""Colours and number format of the mediation figures."""

# Okabe and Ito's colours, distinct for colour-blind readers; shape and fill carry the same information.
POSITIVE, NEGATIVE, NEUTRAL = "#0072B2", "#D55E00", "#8A8A8A"
DPI = 200


def signed(value: float) -> str:
    """Two decimals with a typographic minus."""
    return f"{value:.2f}".replace("-0.00", "0.00").replace("-", "\u2212")
