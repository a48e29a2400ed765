//! Compatibility with the reference's TypeScript client: each of its calls with its request, and
//! the fields of the answer that it reads.

use axum::body::Body;
use axum::http::{Method, Request, header};
use serde_json::{Value, json};

use crate::support::{Answer, Server, Store};

const ADMIN: &str = "the key of the environment";

/// The type of a field of an answer.
#[derive(Clone, Copy, Debug)]
enum Is {
    Text,
    TextOrNull,
    Bool,
    List,
    Object,
    Null,
    Time,
}

impl Is {
    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::TextOrNull => value.is_string() || value.is_null(),
            Self::Bool => value.is_boolean(),
            Self::List => value.is_array(),
            Self::Object => value.is_object(),
            Self::Null => value.is_null(),
            Self::Time => value.as_str().is_some_and(|text| text.ends_with('Z')),
        }
    }
}

use Is::{Bool, List, Null, Object, Text, TextOrNull, Time};

struct Case {
    name: &'static str,
    method: Method,
    path: String,
    body: Option<Value>,
    status: u16,
    fields: &'static [(&'static str, Is)],
}

fn case(
    name: &'static str,
    method: Method,
    path: impl Into<String>,
    body: impl Into<Option<Value>>,
    status: u16,
    fields: &'static [(&'static str, Is)],
) -> Case {
    Case {
        name,
        method,
        path: path.into(),
        body: body.into(),
        status,
        fields,
    }
}

async fn send(server: &Server, key: &str, case: &Case) -> Answer {
    let mut request = Request::builder()
        .method(case.method.clone())
        .uri(&case.path)
        .header(header::ACCEPT, "application/json")
        .header(header::AUTHORIZATION, format!("Bearer {key}"));
    if let Some(body) = &case.body {
        request = request.header(header::CONTENT_TYPE, "application/json");
        // The client sends the idempotency key of a body as a header as well.
        if let Some(key) = body["idempotencyKey"].as_str() {
            request = request.header("Idempotency-Key", key);
        }
    }
    let body = case.body.as_ref().map(Value::to_string).unwrap_or_default();
    server
        .request(request.body(Body::from(body)).unwrap())
        .await
}

async fn answer(server: &Server, key: &str, case: &Case) -> Value {
    let answer = send(server, key, case).await;
    assert_eq!(
        answer.status,
        case.status,
        "{}: {}",
        case.name,
        answer.text()
    );
    let answer = answer.json();
    for (pointer, is) in case.fields {
        let found = answer.pointer(pointer);
        let found = found.unwrap_or_else(|| panic!("{}: no {pointer} in {answer}", case.name));
        assert!(
            is.fits(found),
            "{}: {pointer} is {found}, not {is:?}",
            case.name
        );
    }
    answer
}

async fn key(server: &Server, scope: &str) -> String {
    let body = json!({ "name": scope, "scopes": [scope] });
    let case = case(
        "a key",
        Method::POST,
        "/v1/admin/api-keys",
        body,
        201,
        &[("/key", Text)],
    );
    let made = answer(server, ADMIN, &case).await;
    made["key"].as_str().unwrap().to_owned()
}

const INGESTED: &[(&str, Is)] = &[("/stored", Bool), ("/exits", List), ("/contactKey", Text)];
const UPSERTED: &[(&str, Is)] = &[("/id", Text), ("/created", Bool), ("/linked", Bool)];
const MAILED: &[(&str, Is)] = &[("/emailSendId", Text), ("/status", Text)];
const MEMBER: &[(&str, Is)] = &[("/list", Text), ("/subscribed", Bool)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_of_the_data_plane_answers_in_its_shape_to_an_ingest_key() {
    let server = Server::with(Store::native().await, &[("ADMIN_API_KEY", ADMIN)]).await;
    let ingest = key(&server, "ingest").await;
    let reset = json!({ "url": "https://acme.test/reset" });
    let cases = [
        case(
            "contacts.upsert",
            Method::PUT,
            "/v1/contacts",
            json!({ "email": "ann@example.com", "userId": "u1", "anonymousId": "a1",
                    "properties": { "plan": "pro" }, "lists": { "journey": true } }),
            200,
            UPSERTED,
        ),
        case(
            "contacts.upsert by address alone",
            Method::PUT,
            "/v1/contacts",
            json!({ "email": "bob@example.com" }),
            200,
            UPSERTED,
        ),
        case(
            "contacts.find",
            Method::GET,
            "/v1/contacts/find?email=ann%40example.com",
            None::<Value>,
            200,
            &[
                ("/contacts", List),
                ("/contacts/0/id", Text),
                ("/contacts/0/externalId", Text),
                ("/contacts/0/email", Text),
                ("/contacts/0/properties", Object),
                ("/contacts/0/firstSeenAt", Time),
                ("/contacts/0/lastSeenAt", Time),
                ("/contacts/0/createdAt", Time),
                ("/contacts/0/updatedAt", Time),
            ],
        ),
        case(
            "contacts.find by id",
            Method::GET,
            "/v1/contacts/find?userId=u1",
            None::<Value>,
            200,
            &[("/contacts/0/externalId", Text)],
        ),
        case(
            "contacts.find of nobody",
            Method::GET,
            "/v1/contacts/find?userId=nobody",
            None::<Value>,
            200,
            &[("/contacts", List)],
        ),
        case(
            "events.send",
            Method::POST,
            "/v1/events",
            json!({ "name": "test.signup", "email": "ann@example.com", "userId": "u1",
                    "eventProperties": { "plan": "pro" }, "contactProperties": { "seats": 3 },
                    "value": 12.5, "currency": "EUR", "lists": { "journey": true },
                    "idempotencyKey": "k1" }),
            202,
            INGESTED,
        ),
        case(
            "events.send once more",
            Method::POST,
            "/v1/events",
            json!({ "name": "test.signup", "userId": "u1", "idempotencyKey": "k1" }),
            202,
            INGESTED,
        ),
        case(
            "emails.send by address",
            Method::POST,
            "/v1/emails",
            json!({ "to": "ann@example.com", "template": "password-reset", "props": reset,
                    "from": "Acme <hello@acme.test>", "subject": "Reset", "skipPreferenceCheck": false,
                    "replyTo": "Support <support@acme.test>", "idempotencyKey": "m1" }),
            202,
            MAILED,
        ),
        case(
            "emails.send by id",
            Method::POST,
            "/v1/emails",
            json!({ "userId": "u1", "template": "password-reset", "props": reset }),
            202,
            MAILED,
        ),
        case(
            "lists.list",
            Method::GET,
            "/v1/lists",
            None::<Value>,
            200,
            &[
                ("/lists", List),
                ("/lists/0/id", Text),
                ("/lists/0/name", Text),
                ("/lists/0/kind", Text),
                ("/lists/0/defaultOptIn", Bool),
            ],
        ),
        case(
            "lists.subscribe",
            Method::POST,
            "/v1/lists/journey/subscribe",
            json!({ "email": "ann@example.com" }),
            200,
            MEMBER,
        ),
        case(
            "lists.unsubscribe",
            Method::POST,
            "/v1/lists/journey/unsubscribe",
            json!({ "userId": "u1" }),
            200,
            MEMBER,
        ),
        case(
            "contacts.delete",
            Method::DELETE,
            "/v1/contacts",
            json!({ "email": "bob@example.com" }),
            200,
            &[("/deleted", Bool)],
        ),
        // The answers that the client turns into its errors.
        case(
            "an unknown list",
            Method::POST,
            "/v1/lists/nothing/subscribe",
            json!({ "userId": "u1" }),
            404,
            &[("/error", Text)],
        ),
        case(
            "a wrong body",
            Method::POST,
            "/v1/events",
            json!({ "userId": "u1" }),
            400,
            &[
                ("/success", Bool),
                ("/error", Object),
                ("/error/message", Text),
            ],
        ),
        case(
            "webhooks, which take a full-admin key",
            Method::GET,
            "/v1/admin/webhooks",
            None::<Value>,
            403,
            &[("/error", Text)],
        ),
    ];
    for case in &cases {
        answer(&server, &ingest, case).await;
    }
    let refused = send(&server, "hsk_nothing", &cases[0]).await;
    assert_eq!(
        (refused.status.as_u16(), refused.json()),
        (401, json!({ "error": "Unauthorized" }))
    );
    server.stop().await;
}

const ENDPOINT: &[(&str, Is)] = &[
    ("/id", Text),
    ("/url", Text),
    ("/description", TextOrNull),
    ("/eventTypes", List),
    ("/secretPrefix", Text),
    ("/kind", Text),
    ("/config", Null),
    ("/status", Text),
    ("/organizationId", Null),
    ("/lastDeliveryAt", Null),
    ("/createdAt", Time),
    ("/updatedAt", Time),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_about_webhooks_answers_in_its_shape_to_a_full_admin_key() {
    let server = Server::with(Store::native().await, &[("ADMIN_API_KEY", ADMIN)]).await;
    let (full, read) = (key(&server, "full-admin").await, key(&server, "read").await);
    let url = "https://hooks.example.com/in?token=hush";
    let create = |more: Value| {
        let mut body = json!({ "url": url, "eventTypes": ["contact.created", "email.sent"] });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let path = "/v1/admin/webhooks";
    let made = case(
        "webhooks.create",
        Method::POST,
        path,
        create(json!({ "description": "CRM", "disabled": false, "kind": "webhook" })),
        201,
        ENDPOINT,
    );
    let made = answer(&server, &full, &made).await;
    let secret = made["secret"].as_str().unwrap();
    assert!(
        secret.starts_with("whsec_") && secret.starts_with(made["secretPrefix"].as_str().unwrap())
    );
    assert_eq!(
        (&made["kind"], &made["status"]),
        (&json!("webhook"), &json!("enabled"))
    );
    assert_eq!(
        (&made["description"], &made["url"]),
        (&json!("CRM"), &json!(url))
    );
    let one = format!("{path}/{}", made["id"].as_str().unwrap());

    let off = case(
        "off",
        Method::POST,
        path,
        create(json!({ "disabled": true })),
        201,
        ENDPOINT,
    );
    let off = answer(&server, &full, &off).await;
    assert_eq!(
        (&off["status"], &off["description"]),
        (&json!("disabled"), &Value::Null)
    );
    for (query, total) in [
        ("", 2),
        ("?limit=10&offset=0&includeDisabled=true", 2),
        ("?includeDisabled=false", 1),
    ] {
        let fields: &[(&str, Is)] = &[("/endpoints", List), ("/endpoints/0/secretPrefix", Text)];
        let list = case(
            "webhooks.list",
            Method::GET,
            format!("{path}{query}"),
            None::<Value>,
            200,
            fields,
        );
        let list = answer(&server, &full, &list).await;
        assert_eq!(list["total"], total, "{query}");
        assert!(!list.to_string().contains(secret));
    }

    let get = case(
        "webhooks.get",
        Method::GET,
        &one,
        None::<Value>,
        200,
        ENDPOINT,
    );
    assert_eq!(answer(&server, &full, &get).await["url"], url);
    // A read-only key does not see the URL, which may hold a secret.
    assert_eq!(
        answer(&server, &read, &get).await["url"],
        "https://hooks.example.com/…"
    );
    let list = case(
        "webhooks.list",
        Method::GET,
        path,
        None::<Value>,
        200,
        &[("/endpoints", List)],
    );
    assert!(
        !answer(&server, &read, &list)
            .await
            .to_string()
            .contains("hush")
    );

    let clear = json!({ "description": null, "eventTypes": ["contact.deleted"] });
    let clear = case("webhooks.update", Method::PATCH, &one, clear, 200, ENDPOINT);
    let cleared = answer(&server, &full, &clear).await;
    assert_eq!(
        (&cleared["description"], &cleared["url"]),
        (&Value::Null, &json!(url))
    );
    assert_eq!(cleared["eventTypes"], json!(["contact.deleted"]));
    let none = case(
        "nothing to change",
        Method::PATCH,
        &one,
        json!({}),
        200,
        ENDPOINT,
    );
    assert_eq!(
        answer(&server, &full, &none).await["eventTypes"],
        json!(["contact.deleted"])
    );
    for (method, path, body) in [
        (
            Method::POST,
            path,
            create(json!({ "kind": "posthog", "config": { "apiKey": "x" } })),
        ),
        (Method::PATCH, one.as_str(), json!({ "kind": "slack" })),
    ] {
        let fields: &[(&str, Is)] = &[("/error/issues/0/path", Text)];
        let other = case("another kind", method, path, body, 400, fields);
        assert_eq!(
            answer(&server, &full, &other).await["error"]["issues"][0]["path"],
            "kind"
        );
    }

    let rotate = format!("{one}/rotate-secret");
    let fields: &[(&str, Is)] = &[("/id", Text), ("/secret", Text), ("/secretPrefix", Text)];
    let rotate = case(
        "webhooks.rotateSecret",
        Method::POST,
        rotate,
        json!({}),
        200,
        fields,
    );
    assert_ne!(answer(&server, &full, &rotate).await["secret"], secret);
    let test = case(
        "webhooks.sendTest",
        Method::POST,
        format!("{one}/test"),
        json!({}),
        202,
        &[],
    );
    let tested = answer(&server, &full, &test).await;
    assert_eq!(
        tested,
        json!({ "enqueued": true, "eventType": "webhook.test" })
    );
    let gone = case(
        "webhooks.delete",
        Method::DELETE,
        &one,
        None::<Value>,
        200,
        &[("/deleted", Bool)],
    );
    answer(&server, &full, &gone).await;
    let again = case(
        "webhooks.get",
        Method::GET,
        &one,
        None::<Value>,
        404,
        &[("/error", Text)],
    );
    answer(&server, &full, &again).await;
    server.stop().await;
}
