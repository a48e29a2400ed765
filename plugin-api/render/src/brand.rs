//! The product's brand in mails: name, address, logo and color.

use serde::Serialize;

/// The color of buttons and links where the product sets none.
const COLOR: Color = Color([0xc2, 0x41, 0x0c]);
/// The background of a mail's card, in light and in dark mode.
const LIGHT: Color = Color([0xff, 0xff, 0xff]);
const DARK: Color = Color([0x1e, 0x23, 0x28]);
/// Text on a light color.
const INK: Color = Color([0x11, 0x18, 0x27]);
/// The minimum contrast of text (WCAG 2.2, 1.4.3).
const CONTRAST: f64 = 4.5;

/// An sRGB color.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Color([u8; 3]);

impl Color {
    /// Parses `#c2410c` or `#c40`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#')?;
        let digits: Vec<u8> = digits
            .chars()
            .map(|c| c.to_digit(16).map(|digit| digit as u8))
            .collect::<Option<_>>()?;
        match digits[..] {
            [r, g, b] => Some(Self([r * 17, g * 17, b * 17])),
            [r1, r0, g1, g0, b1, b0] => Some(Self([r1 * 16 + r0, g1 * 16 + g0, b1 * 16 + b0])),
            _ => None,
        }
    }

    /// Relative luminance (WCAG 2.2).
    fn luminance(self) -> f64 {
        let linear = self.0.map(|part| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 {
                part / 12.92
            } else {
                ((part + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }

    fn contrast(self, other: Self) -> f64 {
        let (a, b) = (self.luminance(), other.luminance());
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// The color moved a twentieth towards another one.
    fn towards(self, other: Self) -> Self {
        let mut parts = self.0;
        for (part, goal) in parts.iter_mut().zip(other.0) {
            let step = (i16::from(goal) - i16::from(*part)) / 20;
            let least = (i16::from(goal) - i16::from(*part)).signum();
            let step = if step == 0 { least } else { step };
            *part = u8::try_from(i16::from(*part) + step).unwrap_or(goal);
        }
        Self(parts)
    }

    /// The nearest shade with enough contrast to a background.
    fn readable_on(self, background: Self) -> Self {
        let goal = if background.luminance() > 0.5 {
            Self([0, 0, 0])
        } else {
            Self([255, 255, 255])
        };
        let mut color = self;
        while color.contrast(background) < CONTRAST && color != goal {
            color = color.towards(goal);
        }
        color
    }

    fn hex(self) -> String {
        let [r, g, b] = self.0;
        format!("#{r:02x}{g:02x}{b:02x}")
    }
}

/// What templates see as `brand`. Texts that are not set are empty; the colors are always set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Brand {
    /// The product's name.
    pub name: String,
    /// The product's home page.
    pub url: String,
    /// The URL of the logo.
    pub logo_url: String,
    /// The color of buttons, as `#rrggbb`.
    pub color: String,
    /// The color of text on `color`.
    pub on_color: String,
    /// The color of links on a light background.
    pub link_color: String,
    /// The color of links on a dark background.
    pub link_color_dark: String,
}

impl Brand {
    /// A brand; `color` falls back to a default, and the other colors derive from it.
    pub fn new(name: &str, url: &str, logo_url: &str, color: Option<Color>) -> Self {
        let color = color.unwrap_or(COLOR);
        let on =
            if color.contrast(LIGHT) >= CONTRAST || color.contrast(LIGHT) >= color.contrast(INK) {
                LIGHT
            } else {
                INK
            };
        Self {
            name: name.to_owned(),
            url: url.to_owned(),
            logo_url: logo_url.to_owned(),
            color: color.hex(),
            on_color: on.hex(),
            link_color: color.readable_on(LIGHT).hex(),
            link_color_dark: color.readable_on(DARK).hex(),
        }
    }
}

impl Default for Brand {
    fn default() -> Self {
        Self::new("", "", "", None)
    }
}

#[cfg(test)]
mod tests {
    use super::{Brand, CONTRAST, Color, DARK, LIGHT};

    #[test]
    fn colors_are_read_as_style_sheets_write_them() {
        assert_eq!(Color::parse("#C2410c"), Some(Color([0xc2, 0x41, 0x0c])));
        assert_eq!(Color::parse("#fa0"), Some(Color([0xff, 0xaa, 0x00])));
        for wrong in ["", "c2410c", "#c241", "#ggg", "red", "#c2410c;", "#١٢٣"] {
            assert_eq!(Color::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn whatever_the_color_everything_can_be_read() {
        for r in (0..=255).step_by(51) {
            for g in (0..=255).step_by(51) {
                for b in (0..=255).step_by(51) {
                    let color = Color([r, g, b]);
                    let brand = Brand::new("", "", "", Some(color));
                    let read = |hex: &str| Color::parse(hex).unwrap();
                    let on = read(&brand.on_color);
                    assert!(on.contrast(color) >= 4.2, "{brand:?}");
                    assert!(read(&brand.link_color).contrast(LIGHT) >= CONTRAST);
                    assert!(read(&brand.link_color_dark).contrast(DARK) >= CONTRAST);
                }
            }
        }
        let own = Brand::default();
        assert_eq!((&*own.color, &*own.on_color), ("#c2410c", "#ffffff"));
        assert_eq!(own.link_color, own.color);
    }
}
