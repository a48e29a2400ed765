//! Segment, and products with its tracking API: sends events and traits, reads a person's traits.

#![forbid(unsafe_code)]

mod basic;
mod capture;
#[cfg(test)]
mod conformance;
mod person;

use hogsend_plugin_api::{
    Analytics, Capture, Captured, Host, Manifest, Plugin, Properties, Setting, Settings,
    export_plugin,
};

use capture::TrackingApi;
use person::ProfileApi;

const WRITE_KEY: &str = "SEGMENT_WRITE_KEY";
const BASE_URL: &str = "SEGMENT_BASE_URL";
const SPACE_ID: &str = "SEGMENT_PROFILE_SPACE_ID";
const PROFILE_TOKEN: &str = "SEGMENT_PROFILE_TOKEN";
const PROFILE_BASE_URL: &str = "SEGMENT_PROFILE_BASE_URL";

const DEFAULT_BASE_URL: &str = "https://api.segment.io";
const DEFAULT_PROFILE_BASE_URL: &str = "https://profiles.segment.com";

pub struct Segment {
    captures: Option<TrackingApi>,
    people: Option<ProfileApi>,
}

impl Plugin for Segment {
    fn manifest() -> Manifest {
        Manifest::new("segment-analytics", env!("CARGO_PKG_VERSION"))
            .setting(
                Setting::new(
                    WRITE_KEY,
                    "the write key of an HTTP API source (Connections, Sources, your source, Settings, API Keys), to send Segment events of mails and captures of journeys",
                )
                .secret(),
            )
            .setting(
                Setting::new(
                    BASE_URL,
                    "the URL of the tracking API; https://events.eu1.segmentapis.com for a workspace in the EU, which loses what is sent to the default",
                )
                .url()
                .default(DEFAULT_BASE_URL),
            )
            .setting(Setting::new(
                SPACE_ID,
                "the id of a Unify space (Unify, Unify settings, API access), to read person traits",
            ))
            .setting(
                Setting::new(
                    PROFILE_TOKEN,
                    "an access token of the Profile API, from the same page as SEGMENT_PROFILE_SPACE_ID",
                )
                .secret(),
            )
            .setting(
                Setting::new(
                    PROFILE_BASE_URL,
                    "the URL of the Profile API; https://profiles.euw1.segment.com for a workspace in the EU",
                )
                .url()
                .default(DEFAULT_PROFILE_BASE_URL),
            )
            .captures_with(WRITE_KEY)
            .http_host("$SEGMENT_BASE_URL")
            .http_host("$SEGMENT_PROFILE_BASE_URL")
    }

    fn new(settings: &Settings) -> Result<Self, String> {
        let get = |name| settings.get(name).filter(|value| !value.is_empty());
        let base = get(BASE_URL).unwrap_or(DEFAULT_BASE_URL);
        let profiles = get(PROFILE_BASE_URL).unwrap_or(DEFAULT_PROFILE_BASE_URL);
        let people = match (get(SPACE_ID), get(PROFILE_TOKEN)) {
            (Some(space), Some(token)) => Some(ProfileApi::new(profiles, space, token)),
            (None, None) => None,
            (Some(_), None) => return Err(half(SPACE_ID, PROFILE_TOKEN)),
            (None, Some(_)) => return Err(half(PROFILE_TOKEN, SPACE_ID)),
        };
        Ok(Self {
            captures: get(WRITE_KEY).map(|key| TrackingApi::new(base, key)),
            people,
        })
    }
}

fn half(set: &str, missing: &str) -> String {
    format!(
        "{set} is set without {missing}: set both to read person traits, from Unify, Unify settings, API access, or neither"
    )
}

impl Analytics for Segment {
    async fn person(&self, host: Host, distinct_id: String) -> Result<Option<Properties>, String> {
        match &self.people {
            Some(people) => people.traits(&host, &distinct_id).await,
            None => Ok(None),
        }
    }

    async fn capture(&self, host: Host, batch: Vec<Capture>) -> Captured {
        match &self.captures {
            Some(captures) => captures.send(&host, &batch).await,
            None => Captured::Unwanted,
        }
    }
}

export_plugin!(Segment: analytics);
