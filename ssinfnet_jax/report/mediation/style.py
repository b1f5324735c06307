"""Colours and numbers that the figures of the mediation analysis share."""

# Okabe and Ito's colours, which colour-blind readers tell apart; shape and fill say the same once more.
POSITIVE, NEGATIVE, NEUTRAL = "#0072B2", "#D55E00", "#8A8A8A"
DPI = 200


def signed(value: float) -> str:
    """Two decimals with a typographic minus."""
    return f"{value:.2f}".replace("-0.00", "0.00").replace("-", "\u2212")
