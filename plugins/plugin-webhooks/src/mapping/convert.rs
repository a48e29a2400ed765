//! Conversions of values.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

use crate::place::{Place, Seen};

/// How a value becomes another.
#[derive(Clone, Debug, PartialEq)]
pub enum Convert {
    /// A number or boolean becomes text.
    Text,
    /// A time becomes an RFC 3339 text in UTC.
    Time(Unit),
    /// An amount in the smallest unit of a currency becomes a text such as `20.00 USD`. Holds where the
    /// currency's code is.
    Money(Place),
}

/// How a time is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    #[default]
    Rfc3339,
    /// Since 1970.
    Seconds,
    /// Since 1970.
    Milliseconds,
}

impl Convert {
    /// The converted value; `None` where it cannot be converted.
    pub fn apply(&self, value: &Value, seen: &Seen<'_>) -> Option<Value> {
        let text = match self {
            Self::Text => match value {
                Value::Bool(_) | Value::Number(_) => value.to_string(),
                Value::String(text) => text.clone(),
                _ => return None,
            },
            Self::Time(unit) => {
                let at = unit.read(value)?;
                at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
            }
            Self::Money(currency) => {
                let currency = currency.text(seen)?;
                money(value.as_i64()?, &currency)?
            }
        };
        Some(Value::String(text))
    }
}

impl Unit {
    /// The time; `None` where the value is none.
    pub fn read(self, value: &Value) -> Option<DateTime<Utc>> {
        let number = || match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let milliseconds = match self {
            Self::Rfc3339 => {
                let at = DateTime::parse_from_rfc3339(value.as_str()?.trim()).ok()?;
                return Some(at.to_utc());
            }
            Self::Seconds => number()? * 1_000.0,
            Self::Milliseconds => number()?,
        };
        // Out of range, a float becomes the nearest integer, which chrono refuses.
        DateTime::from_timestamp_millis(milliseconds.round() as i64)
            .filter(|_| milliseconds.is_finite())
    }
}

/// An amount in a currency's smallest unit, with its code (<https://docs.stripe.com/currencies>).
fn money(amount: i64, currency: &str) -> Option<String> {
    let code = currency.trim().to_ascii_uppercase();
    let known = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    let decimals: u32 = match code.as_str() {
        _ if !known => return None,
        _ if zero_decimal(&code) => 0,
        "BHD" | "JOD" | "KWD" | "OMR" | "TND" => 3,
        _ => 2,
    };
    let sign = if amount < 0 { "-" } else { "" };
    let unit = 10_u64.pow(decimals);
    let (whole, rest) = (amount.unsigned_abs() / unit, amount.unsigned_abs() % unit);
    Some(match decimals {
        0 => format!("{sign}{whole} {code}"),
        _ => format!(
            "{sign}{whole}.{rest:0width$} {code}",
            width = decimals as usize
        ),
    })
}

/// Whether a currency has no smaller unit, by Stripe's list of zero-decimal currencies. UGX is not among
/// them: Stripe's API gives it two decimals.
fn zero_decimal(code: &str) -> bool {
    [
        "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF",
        "XOF", "XPF",
    ]
    .contains(&code)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Unit, money};

    #[test]
    fn an_amount_is_written_with_the_decimals_of_its_currency() {
        for (amount, currency, expected) in [
            (2_000, "usd", Some("20.00 USD")),
            (5, "eur", Some("0.05 EUR")),
            (-1_999, "GBP", Some("-19.99 GBP")),
            (500, "jpy", Some("500 JPY")),
            (1_500, "kwd", Some("1.500 KWD")),
            (i64::MIN, "usd", Some("-92233720368547758.08 USD")),
            (1, "", None),
            (1, "us$", None),
        ] {
            assert_eq!(money(amount, currency).as_deref(), expected, "{currency}");
        }
    }

    #[test]
    fn a_time_is_read_in_its_unit_only() {
        let at = |unit: Unit, value| unit.read(&value).map(|at| at.to_rfc3339());
        let noon = Some("2023-11-14T22:13:20+00:00".to_owned());
        assert_eq!(at(Unit::Seconds, json!(1_700_000_000)), noon);
        assert_eq!(at(Unit::Seconds, json!("1700000000")), noon);
        assert_eq!(at(Unit::Milliseconds, json!(1_700_000_000_000_i64)), noon);
        assert_eq!(at(Unit::Rfc3339, json!("2023-11-14T23:13:20+01:00")), noon);
        for (unit, value) in [
            (Unit::Seconds, json!("soon")),
            (Unit::Seconds, json!(1e300)),
            (Unit::Seconds, json!("NaN")),
            (Unit::Milliseconds, json!(null)),
            (Unit::Rfc3339, json!(1_700_000_000)),
            (Unit::Rfc3339, json!("2023-11-14 22:13:20")),
        ] {
            assert_eq!(at(unit, value.clone()), None, "{value}");
        }
    }
}
