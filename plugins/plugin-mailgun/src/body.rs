//! The form of `POST /v3/{domain}/messages`
//! (<https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages>).

use form_urlencoded::Serializer;
use hogsend_mime as mime;
use hogsend_plugin_api::{Mail, Prepared};

/// The variable that identifies the mail in webhooks, even where Mailgun's acceptance was lost. The
/// recipient can read it in the header `X-Mailgun-Variables`.
pub const SEND_ID: &str = "send_id";
/// Mailgun allows at most this many tags,
const TAGS_MAX: usize = 3;
/// of at most this many ASCII characters.
const TAG_MAX: usize = 128;
/// The most bytes of all options, headers and variables together.
const OPTIONS_MAX: usize = 16_384;
/// Headers that are written from a mail's own fields.
const OWN_HEADERS: [&str; 7] = [
    "from",
    "to",
    "cc",
    "bcc",
    "subject",
    "reply-to",
    "message-id",
];

/// Builds the form.
pub fn prepare(mail: &Mail) -> Result<Prepared, String> {
    let mut form = Serializer::new(String::new());
    form.append_pair("from", &mailbox("sender", &mail.from)?)
        .append_pair("to", &mailbox("recipient", &mail.to)?)
        .append_pair("subject", &mail.subject)
        .append_pair("text", &mail.text)
        .append_pair("html", &mail.html);
    let options = options(mail)?;
    let bytes: usize = options
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes > OPTIONS_MAX {
        return Err(format!(
            "the headers and tags of the mail have {bytes} bytes, and Mailgun accepts at most {OPTIONS_MAX}"
        ));
    }
    form.extend_pairs(options);
    Ok(Prepared::new(
        "application/x-www-form-urlencoded",
        form.finish(),
    ))
}

/// Everything but the content: `h:` are headers, `o:` options, `v:` variables.
fn options(mail: &Mail) -> Result<Vec<(String, String)>, String> {
    let mut options = Vec::new();
    let mut add = |name: &str, value: &str| options.push((name.to_owned(), value.to_owned()));
    if let Some(reply_to) = &mail.reply_to {
        add("h:Reply-To", &mailbox("reply-to", reply_to)?);
    }
    // The id of Mailgun's answer and of its webhooks.
    add("h:Message-Id", &format!("<{}>", mail.message_id));
    for (name, value) in &mail.headers {
        let token = |byte: u8| byte.is_ascii_graphic() && byte != b':';
        if name.is_empty() || !name.bytes().all(token) {
            return Err(format!("'{}' is not a header name", name.escape_debug()));
        }
        if OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(format!(
                "the header '{name}' is written from the mail's own fields: leave it out"
            ));
        }
        if value.contains(char::is_control) {
            return Err(format!("the header '{name}' contains a line break"));
        }
        add(&format!("h:{name}"), value);
    }
    add(&format!("v:{SEND_ID}"), &mail.id.to_string());
    for (name, value) in mail
        .tags
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .take(TAGS_MAX)
    {
        add("o:tag", &tag(name, value));
    }
    // The host tracks opens and clicks itself, and Mailgun would rewrite its links. The first switch
    // alone is not enough in accounts that have one of the others on.
    for kind in ["o:tracking", "o:tracking-clicks", "o:tracking-opens"] {
        add(kind, "no");
    }
    Ok(options)
}

fn tag(name: &str, value: &str) -> String {
    let safe = |c: char| if c.is_ascii_graphic() { c } else { '_' };
    let text = format!("{name}:{value}");
    text.chars().take(TAG_MAX).map(safe).collect()
}

/// An address with its name. Mailgun builds a broken message from other letters than ASCII before the
/// `@`.
fn mailbox(what: &str, text: &str) -> Result<String, String> {
    let mailbox = mime::name_addr(what, text)?;
    if mailbox.address.is_ascii() {
        Ok(mailbox.to_string())
    } else {
        Err(format!(
            "the {what} of the mail has other letters than ASCII before the @, which Mailgun does not deliver: '{}'",
            mailbox.address
        ))
    }
}
