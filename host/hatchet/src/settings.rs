//! How to reach an engine: the variables `HATCHET_CLIENT_*`, as Hatchet's own SDKs read them.

use std::time::SystemTime;

use secrecy::SecretString;

use crate::namespace::Namespace;
use crate::problem::Problem;
use crate::token::Token;

/// The names of the variables.
pub mod names {
    pub const TOKEN: &str = "HATCHET_CLIENT_TOKEN";
    pub const HOST_PORT: &str = "HATCHET_CLIENT_HOST_PORT";
    pub const NAMESPACE: &str = "HATCHET_CLIENT_NAMESPACE";
    pub const TLS_STRATEGY: &str = "HATCHET_CLIENT_TLS_STRATEGY";
    pub const TLS_CERT_FILE: &str = "HATCHET_CLIENT_TLS_CERT_FILE";
    pub const TLS_KEY_FILE: &str = "HATCHET_CLIENT_TLS_KEY_FILE";
    pub const TLS_ROOT_CA_FILE: &str = "HATCHET_CLIENT_TLS_ROOT_CA_FILE";
    pub const TLS_SERVER_NAME: &str = "HATCHET_CLIENT_TLS_SERVER_NAME";
    /// All of them.
    pub const ALL: [&str; 8] = [
        TOKEN,
        HOST_PORT,
        NAMESPACE,
        TLS_STRATEGY,
        TLS_CERT_FILE,
        TLS_KEY_FILE,
        TLS_ROOT_CA_FILE,
        TLS_SERVER_NAME,
    ];
}

/// How to reach an engine.
#[derive(Clone, Debug)]
pub struct Settings {
    pub token: Token,
    /// `host:port` of the engine's gRPC port.
    pub address: String,
    pub namespace: Namespace,
    /// None for plain HTTP/2 (`HATCHET_CLIENT_TLS_STRATEGY=none`).
    pub tls: Option<Tls>,
}

/// What a TLS connection is made with; certificates and keys in PEM.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// The authorities to trust instead of the system's.
    pub root_ca: Option<String>,
    /// The client's certificate and its key (`mtls`).
    pub identity: Option<(String, SecretString)>,
    /// The name that the engine's certificate must have, where it is not the address's host.
    pub server_name: Option<String>,
}

/// What reads a variable: None where it is unset.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Settings {
    /// Reads the settings and the files that they name; None where `HATCHET_CLIENT_TOKEN` is unset. An empty
    /// variable counts as unset.
    ///
    /// # Errors
    /// Every problem at once, each naming its variable and the fix.
    pub fn load(lookup: Lookup<'_>, now: SystemTime) -> Result<Option<Self>, Vec<Problem>> {
        let get = |name: &str| {
            let value = lookup(name)?;
            let value = value.trim();
            (!value.is_empty()).then(|| value.to_owned())
        };
        let Some(token) = get(names::TOKEN) else {
            return Ok(None);
        };
        let mut problems = Vec::new();
        let token = keep(&mut problems, Token::decode(&token, now));
        let address = match get(names::HOST_PORT) {
            Some(text) => keep(&mut problems, address(&text)),
            None => token
                .as_ref()
                .and_then(|it| keep(&mut problems, address_of(it))),
        };
        let namespace = Namespace::parse(&get(names::NAMESPACE).unwrap_or_default())
            .map_err(|text| Problem::new(names::NAMESPACE, text));
        let namespace = keep(&mut problems, namespace);
        let tls = tls(&get, &mut problems);
        match (token, address, namespace) {
            (Some(token), Some(address), Some(namespace)) if problems.is_empty() => {
                Ok(Some(Self {
                    token,
                    address,
                    namespace,
                    tls,
                }))
            }
            _ => Err(problems),
        }
    }
}

fn keep<T>(problems: &mut Vec<Problem>, result: Result<T, Problem>) -> Option<T> {
    result.map_err(|it| problems.push(it)).ok()
}

/// The address that the token has.
fn address_of(token: &Token) -> Result<String, Problem> {
    let Some(text) = &token.address else {
        return Err(Problem::new(
            names::HOST_PORT,
            "is needed, because the token does not say where the engine is: set it to host:port of the engine's gRPC port",
        ));
    };
    address(text)
}

fn address(text: &str) -> Result<String, Problem> {
    let problem = |why: &str| {
        let example = "set it to host:port, for example hatchet.internal:7077";
        Problem::new(names::HOST_PORT, format!("is '{text}': {why}; {example}"))
    };
    if text.contains("//") {
        return Err(problem("it is a URL"));
    }
    let (host, port) = text
        .rsplit_once(':')
        .ok_or_else(|| problem("it has no port"))?;
    match port.parse::<u16>() {
        Ok(port) if port > 0 => {}
        _ => return Err(problem("its port is not a number from 1 to 65535")),
    }
    let authority: Result<http::uri::Authority, _> = text.parse();
    match authority {
        Ok(authority) if !host.is_empty() && !text.contains('@') => Ok(authority.to_string()),
        _ => Err(problem("its host is not a name or an address")),
    }
}

fn tls(get: &dyn Fn(&str) -> Option<String>, problems: &mut Vec<Problem>) -> Option<Tls> {
    let strategy = get(names::TLS_STRATEGY).unwrap_or_else(|| "tls".to_owned());
    let mutual = strategy == "mtls";
    if !["tls", "mtls", "none"].contains(&strategy.as_str()) {
        problems.push(Problem::new(
            names::TLS_STRATEGY,
            format!("is '{strategy}': use tls, mtls (with a certificate of the client) or none (without encryption)"),
        ));
    }
    if strategy == "none" {
        let of_tls = &names::ALL[4..];
        problems.extend(of_tls.iter().filter(|it| get(it).is_some()).map(|name| {
            Problem::new(
                name,
                format!(
                    "has no use with {}=none: unset one of them",
                    names::TLS_STRATEGY
                ),
            )
        }));
        return None;
    }
    let root_ca = pem(get, names::TLS_ROOT_CA_FILE, "CERTIFICATE", problems);
    let mut identity = None;
    if mutual {
        let files = [names::TLS_CERT_FILE, names::TLS_KEY_FILE];
        problems.extend(files.iter().filter(|it| get(it).is_none()).map(|name| {
            Problem::new(
                name,
                format!(
                    "is required by {}=mtls: set it to the path of a PEM file",
                    names::TLS_STRATEGY
                ),
            )
        }));
        let certificate = pem(get, names::TLS_CERT_FILE, "CERTIFICATE", problems);
        let key = pem(get, names::TLS_KEY_FILE, "PRIVATE KEY", problems);
        identity = certificate.zip(key.map(SecretString::from));
    } else {
        let files = [names::TLS_CERT_FILE, names::TLS_KEY_FILE];
        problems.extend(files.iter().filter(|it| get(it).is_some()).map(|name| {
            Problem::new(
                name,
                format!(
                    "has no use with {0}=tls: set {0}=mtls or unset it",
                    names::TLS_STRATEGY
                ),
            )
        }));
    }
    Some(Tls {
        root_ca,
        identity,
        server_name: get(names::TLS_SERVER_NAME),
    })
}

/// The text of the PEM file that the variable names.
fn pem(
    get: &dyn Fn(&str) -> Option<String>,
    name: &'static str,
    label: &str,
    problems: &mut Vec<Problem>,
) -> Option<String> {
    let path = get(name)?;
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Problem::new(
            name,
            format!("names a file that cannot be read: {path}: {error}"),
        )
    });
    let text = keep(problems, text)?;
    let begins = text
        .lines()
        .any(|it| it.starts_with("-----BEGIN ") && it.contains(label));
    if !begins {
        problems.push(Problem::new(
            name,
            format!(
                "names a file without '-----BEGIN … {label}-----': {path}; set it to a PEM file"
            ),
        ));
        return None;
    }
    Some(text)
}
