"""Silver with a breath of gold: warm greys, one gilded accent, fonts of the reader's own system."""

from gradio.themes import Base, Color, sizes

SILVER = Color(
    name="silver",
    c50="#faf9f7",
    c100="#f3f1ed",
    c200="#e6e2db",
    c300="#d2ccc2",
    c400="#a8a196",
    c500="#7a7368",
    c600="#5f594f",
    c700="#48433b",
    c800="#2c2823",
    c900="#1e1b17",
    c950="#151310",
)
GILT = Color(
    name="gilt",
    c50="#fbf6ea",
    c100="#f5e9cb",
    c200="#ead39a",
    c300="#dcb866",
    c400="#cba043",
    c500="#b0842b",
    c600="#8a6419",
    c700="#6f5014",
    c800="#563f18",
    c900="#423114",
    c950="#261b0a",
)
_SANS = ("ui-sans-serif", "system-ui", "Segoe UI", "Helvetica Neue", "Noto Sans", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Cascadia Code", "Menlo", "Consolas", "monospace")

_LOOK = {
    "body_background_fill": "*neutral_50",
    "body_background_fill_dark": "*neutral_950",
    "body_text_color": "*neutral_800",
    "body_text_color_dark": "*neutral_200",
    "body_text_color_subdued": "*neutral_600",
    "body_text_color_subdued_dark": "*neutral_400",
    "background_fill_primary": "white",
    "background_fill_primary_dark": "*neutral_900",
    "background_fill_secondary": "*neutral_100",
    "background_fill_secondary_dark": "*neutral_800",
    "border_color_primary": "*neutral_200",
    "border_color_primary_dark": "#3a352e",
    "block_background_fill": "white",
    "block_background_fill_dark": "*neutral_900",
    "block_border_width": "1px",
    "block_radius": "10px",
    "input_border_width": "1px",
    "block_label_background_fill": "transparent",
    "block_label_background_fill_dark": "transparent",
    "block_label_border_width": "0px",
    "block_label_border_width_dark": "0px",
    "block_label_text_color": "*neutral_600",
    "block_label_text_color_dark": "*neutral_400",
    "block_title_text_color": "*neutral_700",
    "block_title_text_color_dark": "*neutral_300",
    "block_title_text_weight": "500",
    "block_shadow": "none",
    "block_shadow_dark": "none",
    "input_background_fill": "white",
    "input_background_fill_dark": "*neutral_950",
    "input_border_color": "*neutral_300",
    "input_border_color_dark": "#453f36",
    "input_border_color_focus": "*primary_500",
    "input_border_color_focus_dark": "*primary_400",
    "input_placeholder_color": "*neutral_500",
    "input_placeholder_color_dark": "*neutral_500",
    "button_primary_background_fill": "*primary_600",
    "button_primary_background_fill_dark": "*primary_300",
    "button_primary_background_fill_hover": "*primary_700",
    "button_primary_background_fill_hover_dark": "*primary_200",
    "button_primary_text_color": "white",
    "button_primary_text_color_dark": "*primary_950",
    "button_secondary_background_fill": "transparent",
    "button_secondary_background_fill_dark": "transparent",
    "button_secondary_background_fill_hover": "*neutral_100",
    "button_secondary_background_fill_hover_dark": "*neutral_800",
    "button_secondary_border_color": "*neutral_300",
    "button_secondary_border_color_dark": "*neutral_700",
    "button_border_width": "1px",
    "button_large_text_weight": "500",
    "button_medium_text_weight": "500",
    "color_accent_soft": "*primary_50",
    "color_accent_soft_dark": "#2a2318",
    "link_text_color": "*primary_600",
    "link_text_color_dark": "*primary_300",
    "slider_color": "*primary_500",
    "slider_color_dark": "*primary_400",
    "loader_color": "*primary_500",
}


class VermeilTheme(Base):
    """Flat surfaces, hairlines instead of shadows, gold only where something can be done."""

    def __init__(self) -> None:
        super().__init__(
            primary_hue=GILT,
            secondary_hue=GILT,
            neutral_hue=SILVER,
            radius_size=sizes.radius_md,
            font=_SANS,
            font_mono=_MONO,
        )
        self.name = "vermeil"
        self.set(**_LOOK)
