//! A binary that links the crate finds its sources, as the host does.

use hogsend_plugin_api::call::{Ask, Reply, decode, encode, method};
use hogsend_plugin_api::described::{Description, Sources, describers};
use hogsend_plugin_api::{Reading, Refusal, Settings, Webhook};

const ACME: &str = "
name = '/type'
user_id = '/user'
[authentication]
scheme = 'header'
header = 'x-acme-secret'
secret = 'ACME_WEBHOOK_SECRET'
";

#[test]
fn presets_and_files_are_sources_of_the_binary() {
    hogsend_plugin_webhooks::hogsend_link();
    let own: Vec<_> = describers().flat_map(|one| (one.own)()).collect();
    assert!(own.iter().any(|source| source.manifest.id == "stripe"));
    let file = Description {
        path: "/etc/hogsend/webhooks/acme.toml".into(),
        text: ACME.into(),
    };
    let broken = Description {
        path: "/etc/hogsend/webhooks/broken.toml".into(),
        text: "name = 'e'".into(),
    };
    let describer = describers().next().unwrap();
    let Sources { sources, mistakes } = (describer.read)(&[file.clone(), broken.clone()]);
    assert_eq!(sources.len(), 1);
    assert_eq!(sources[0].path, Some(file.path));
    assert!(mistakes.iter().all(|mistake| mistake.path == broken.path));
    assert_eq!(mistakes.len(), 1);

    let settings = Settings::from([("ACME_WEBHOOK_SECRET", "hush")]);
    let instance = sources[0].create(&settings).unwrap();
    let read = |secret: &str| -> Result<Reading, Refusal> {
        let now = chrono::DateTime::UNIX_EPOCH;
        let headers = vec![("x-acme-secret".into(), secret.into())];
        let body = r#"{"type":"user.created","user":"u1"}"#;
        let ask = Ask::new(Webhook::new(headers, body, now), now);
        let input = encode(&ask).unwrap();
        let output = instance.call(method::EVENT_SOURCE_READ, &input).unwrap();
        let reply: Reply<_> = decode(&output).unwrap();
        reply.done.unwrap()
    };
    match read("hush") {
        Ok(Reading::Events(events)) => assert_eq!(events[0].user_id.as_deref(), Some("u1")),
        other => panic!("{other:?}"),
    }
    assert!(matches!(read("hus"), Err(Refusal::Unauthorized { .. })));
    assert!(instance.call(method::DELIVERY_SEND, b"null").is_err());
}
