//! What others reach: the public URL, and the DNS records of the sender's domain.

use std::collections::BTreeSet;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RData;
use hogsend_mime::NameAddr;
use serde_json::Value;

use super::finding::Finding;
use crate::clock::Clock;
use crate::config::Config;
use crate::http_client::http_client;
use crate::worker::engine;

const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the public URL whether a Hogsend answers there.
pub async fn public_url(config: &Config) -> Finding {
    const ABOUT: &str = "public URL";
    let url = &config.api_public_url;
    if !config.production {
        return Finding::skipped(
            ABOUT,
            format!("{url}, which development does not need to reach"),
        );
    }
    let answer = http_client()
        .get(format!("{url}/v1/health/live"))
        .timeout(PATIENCE)
        .send();
    let fix = "compare API_PUBLIC_URL with the DNS record and with the proxy in front of the API, and look whether the API runs";
    match answer.await {
        Ok(answer) if answer.status().is_success() => {
            let text = answer.text().await.unwrap_or_default();
            let body: Value = serde_json::from_str(&text).unwrap_or_default();
            if body["status"] == "live" {
                return Finding::ok(ABOUT, format!("a Hogsend answers at {url}"));
            }
            Finding::failed(
                ABOUT,
                format!("something else than Hogsend answers at {url}"),
                fix,
            )
        }
        Ok(answer) => Finding::failed(
            ABOUT,
            format!("{url} answers {}", answer.status().as_u16()),
            fix,
        ),
        Err(error) => {
            let why = match error.is_timeout() {
                true => "within 5 s",
                false => "from this machine",
            };
            Finding::failed(ABOUT, format!("{url} cannot be reached {why}"), fix)
        }
    }
}

/// Asks the engine of the workers, where it is outside the database.
pub async fn engine(config: &Config) -> Option<Finding> {
    const ABOUT: &str = "engine";
    Some(match engine::check(config, &Clock::system()).await? {
        Ok(answers) => Finding::ok(ABOUT, answers),
        Err(unfit) => Finding::failed(ABOUT, unfit.why.to_string(), unfit.fix),
    })
}

/// Looks up SPF, DMARC and DKIM of the domains that mail comes from.
pub async fn domains(config: &Config, senders: &[&str], selector: Option<&str>) -> Vec<Finding> {
    const ABOUT: &str = "sender's domain";
    if !config.production {
        return vec![Finding::skipped(
            ABOUT,
            "mail of development does not leave this machine",
        )];
    }
    let addresses = senders
        .iter()
        .filter_map(|sender| sender.parse::<NameAddr>().ok());
    let domains: BTreeSet<String> = addresses
        .filter_map(|one| Some(one.address.rsplit_once('@')?.1.to_ascii_lowercase()))
        .collect();
    let resolver = TokioResolver::builder_tokio().and_then(|builder| builder.build());
    let Ok(resolver) = resolver else {
        return vec![Finding::skipped(
            ABOUT,
            "this machine has no DNS resolver to ask",
        )];
    };
    let mut found = Vec::new();
    for domain in domains {
        found.extend(look(&resolver, &domain, selector).await);
    }
    found
}

async fn look(resolver: &TokioResolver, domain: &str, selector: Option<&str>) -> Vec<Finding> {
    let about = format!("domain {domain}");
    let Some(own) = texts(resolver, domain).await else {
        return vec![Finding::skipped(
            about,
            "DNS does not answer, its records were not checked",
        )];
    };
    let spf = own
        .iter()
        .any(|text| text.to_ascii_lowercase().starts_with("v=spf1"));
    let dmarc = texts(resolver, &format!("_dmarc.{domain}"))
        .await
        .unwrap_or_default();
    let dmarc = dmarc.iter().any(|text| text.starts_with("v=DMARC1"));
    let mut found = vec![
        match spf {
            true => Finding::ok(&about, "it has an SPF record"),
            false => Finding::warning(
                &about,
                "it has no SPF record",
                "create the TXT record that the provider shows, unless the provider uses a return path of its own",
            ),
        },
        match dmarc {
            true => Finding::ok(&about, "it has a DMARC record"),
            false => Finding::warning(
                &about,
                "it has no DMARC record, which Gmail and Yahoo require of bulk senders",
                format!(
                    "create a TXT record _dmarc.{domain} with v=DMARC1; p=none, and tighten it later"
                ),
            ),
        },
    ];
    found.push(match selector {
        None => Finding::skipped(
            &about,
            "DKIM was not checked: name the selector with --dkim-selector",
        ),
        Some(selector) => {
            let name = format!("{selector}._domainkey.{domain}");
            let keys = texts(resolver, &name).await.unwrap_or_default();
            match keys.iter().any(|text| text.contains("p=")) {
                true => Finding::ok(&about, format!("{name} has a DKIM key")),
                false => Finding::warning(
                    &about,
                    format!("{name} has no DKIM key"),
                    "create the record that the provider shows, or correct the selector",
                ),
            }
        }
    });
    found
}

/// The TXT records of a name, none where there are none. None where DNS does not answer.
async fn texts(resolver: &TokioResolver, name: &str) -> Option<Vec<String>> {
    let asked = tokio::time::timeout(PATIENCE, resolver.txt_lookup(format!("{name}.")));
    match asked.await {
        Ok(Ok(found)) => {
            let texts = found
                .answers()
                .iter()
                .filter_map(|record| match &record.data {
                    RData::TXT(text) => Some(text.txt_data.concat()),
                    _ => None,
                });
            Some(
                texts
                    .map(|text| String::from_utf8_lossy(&text).into_owned())
                    .collect(),
            )
        }
        Ok(Err(error)) if error.is_no_records_found() || error.is_nx_domain() => Some(Vec::new()),
        Ok(Err(_)) | Err(_) => None,
    }
}
