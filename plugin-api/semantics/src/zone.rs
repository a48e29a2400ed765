//! The time zone of a person.

use chrono_tz::Tz;
use hogsend_plugin_api::Properties;

/// Properties with the time zone in analytics: PostHog's GeoIP, then the common names.
const ANALYTICS: [&str; 3] = ["$geoip_time_zone", "timezone", "time_zone"];
const CONTACT: [&str; 3] = ["timezone", "time_zone", "$geoip_time_zone"];

/// The time zone in analytics, else the contact's own, else `default`. Values that are not names of
/// the IANA database are ignored.
pub fn of(analytics: &Properties, contact: &Properties, default: Tz) -> Tz {
    let found = |properties: &Properties, names: [&str; 3]| {
        names
            .iter()
            .find_map(|name| properties.get(*name)?.as_str()?.trim().parse().ok())
    };
    found(analytics, ANALYTICS)
        .or_else(|| found(contact, CONTACT))
        .unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn analytics_comes_before_the_contact_and_nonsense_is_passed_over() {
        let properties = |value: serde_json::Value| value.as_object().unwrap().clone();
        let analytics = properties(json!({ "$geoip_time_zone": "Europe/Berlin" }));
        let contact = properties(json!({ "timezone": "America/New_York" }));
        let nonsense = properties(json!({ "timezone": "Middle/Earth", "time_zone": 7 }));
        let none = Properties::new();
        assert_eq!(of(&analytics, &contact, Tz::UTC), Tz::Europe__Berlin);
        assert_eq!(of(&nonsense, &contact, Tz::UTC), Tz::America__New_York);
        assert_eq!(of(&none, &nonsense, Tz::Asia__Tokyo), Tz::Asia__Tokyo);
    }
}
