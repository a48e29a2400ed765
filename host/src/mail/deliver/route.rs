//! Step 2 for mails without an attempt: which provider each goes to, its bytes, and which mails
//! travel in one request.

use std::sync::LazyLock;

use chrono::TimeDelta;
use hogsend_plugin_api::limits;

use super::providers::{Providers, Shut, Way, sender_of};
use super::{Ready, Work, give_up, postpone, stop_probes};
use crate::calls::Open;
use crate::context::Context;
use crate::db::{self, ClaimedSend, PluginCall};
use crate::mail::compose::sender;
use crate::mail::fate::{Settled, Standing};
use crate::plugins::DeliveryRef;
use crate::purpose::Purpose;
use crate::telemetry::Outages;

/// How long mails that no provider takes are kept, unless a provider takes mail again before.
const KEPT: TimeDelta = TimeDelta::hours(1);
/// How long a mail waits whose provider's plugin does not work: as long as it has waited, within these. A call
/// that does not end costs a thread, so the pauses grow.
const PLUGIN: TimeDelta = TimeDelta::seconds(30);
const PLUGIN_MAX: TimeDelta = TimeDelta::hours(1);

/// Delivery plugins that give no answer; one that does is logged with its provider.
static SILENT: LazyLock<Outages> = LazyLock::new(Outages::default);

/// A mail that needs the provider's bytes.
pub(super) struct Routed {
    send: ClaimedSend,
    /// It has another sender than when it was kept.
    restamped: bool,
}

impl From<ClaimedSend> for Routed {
    fn from(send: ClaimedSend) -> Self {
        Self {
            send,
            restamped: false,
        }
    }
}

/// Mails that no provider takes now, by their sender.
struct Kept {
    address: String,
    shut: Shut,
    mails: Vec<ClaimedSend>,
}

/// Puts mails without an attempt into requests.
pub(super) async fn route(
    cx: &Context,
    providers: &mut Providers,
    sends: Vec<ClaimedSend>,
    works: &mut Vec<Work>,
) -> db::Result<()> {
    let mut going: Vec<(DeliveryRef, Purpose, Vec<Routed>)> = Vec::new();
    let mut kept: Vec<Kept> = Vec::new();
    for send in sends {
        let mail = restamp(cx, providers, send);
        let address = sender_of(&mail.send.mail.from);
        let purpose = Purpose::of(&mail.send.mail);
        match providers.choose(cx, purpose, &address).await? {
            Way::Open(provider, probes) if probes.is_empty() => {
                let id = provider.id().to_owned();
                let same = |(one, its, _): &&mut (DeliveryRef, Purpose, _)| {
                    one.id() == id && providers.alike(*its, purpose)
                };
                match going.iter_mut().find(same) {
                    Some((_, _, mails)) => mails.push(mail),
                    None => going.push((provider, purpose, vec![mail])),
                }
            }
            Way::Open(provider, probes) => {
                let group = prepare(cx, &provider, vec![mail]).await?;
                if group.is_empty() {
                    stop_probes(cx, &probes).await?;
                }
                works.extend(Work::of(provider, group, probes));
            }
            Way::Shut(shut) => match kept.iter_mut().find(|one| one.address == address) {
                Some(one) => one.mails.push(mail.send),
                None => kept.push(Kept {
                    address,
                    shut,
                    mails: vec![mail.send],
                }),
            },
        }
    }
    for (provider, _, mails) in going {
        let ready = prepare(cx, &provider, mails).await?;
        let most = provider.capabilities().batch_max as usize;
        for group in together(ready, most) {
            works.extend(Work::of(provider.clone(), group, Vec::new()));
        }
    }
    for one in &kept {
        keep(cx, one).await?;
    }
    Ok(())
}

/// Gives the mail the installation's present sender, if its own was refused and both came from the
/// settings.
fn restamp(cx: &Context, providers: &Providers, mut send: ClaimedSend) -> Routed {
    let address = sender_of(&send.mail.from);
    let purpose = Purpose::of(&send.mail);
    let own = sender(cx, purpose);
    let restamped = send.sender_given == Some(false)
        && address != sender_of(&own)
        && providers.refuses(purpose, &address);
    if restamped {
        send.mail.from = own;
        send.prepared = None;
    }
    Routed { send, restamped }
}

/// Gives mails back until the limit ends, or until their sender may be tried again.
async fn keep(cx: &Context, kept: &Kept) -> db::Result<()> {
    let Kept {
        address,
        shut,
        mails,
    } = kept;
    if shut.limit {
        return postpone(cx, mails, shut.until, &shut.reason).await;
    }
    let mut conn = cx.db.conn().await?;
    let sends: Vec<&ClaimedSend> = mails.iter().collect();
    let until = cx.clock.now() + KEPT;
    db::sends_keep(&mut conn, &sends, address, until, &shut.reason).await
}

/// Makes the provider's bytes, or takes those frozen before. Mails that the provider can never take
/// fail here.
pub(super) async fn prepare(
    cx: &Context,
    provider: &DeliveryRef,
    mails: Vec<Routed>,
) -> db::Result<Vec<Ready>> {
    let mut ready = Vec::with_capacity(mails.len());
    let mut before: Option<Open> = None;
    for Routed { send, restamped } in mails {
        let frozen = send.provider.as_deref() == Some(provider.id());
        let prepared = match send.prepared.clone().filter(|_| frozen) {
            Some(prepared) => Ok(Ok(prepared)),
            None => {
                let _turn = cx.alone.turn(send.deaths.count).await;
                let asked = provider.prepare(&send.mail);
                let Some(claim) = send.claim else { continue };
                let call = PluginCall {
                    subject: send.id.into(),
                    claim,
                    name: format!("{}, prepare", provider.id()),
                };
                // One statement for the end of a call and the beginning of the next.
                let call = Open::new(&cx.calls, "mail", call);
                let ended = before.take();
                cx.calls
                    .switch(ended.as_ref().map(Open::call), Some(call.call()))
                    .await?;
                ended.into_iter().for_each(Open::close);
                let prepared = call.answer(asked).await;
                before = Some(call);
                prepared
            }
        };
        match prepared {
            Ok(Ok(prepared)) => {
                SILENT.over(provider.id());
                ready.push(Ready {
                    send,
                    prepared,
                    restamped,
                });
            }
            Ok(Err(reason)) => {
                let failed = [Settled::decided(&send, Standing::failed(reason))];
                give_up::end(cx, &failed).await?;
            }
            Err(error) => {
                if let Some(failing) = SILENT.failed(provider.id()) {
                    let failures = failing.failures;
                    tracing::error!(email_id = %send.id, %error, failures,
                        "the provider's plugin gave no answer");
                }
                let now = cx.clock.now();
                let until = now + (now - send.created_at).clamp(PLUGIN, PLUGIN_MAX);
                let reason = "the provider's plugin gave no answer";
                postpone(cx, &[send], until, reason).await?;
            }
        }
    }
    if let Some(last) = before {
        cx.calls.switch(Some(last.call()), None).await?;
        last.close();
    }
    Ok(ready)
}

/// Bytes of a mail in a request.
fn size(mail: &Ready) -> usize {
    mail.prepared.body.as_slice().len()
}

/// Groups mails of one sender into requests of at most `most`, none of them too large. Two mails to one
/// contact never travel together: a cap or a minimum interval must see the first before the second is
/// decided.
fn together(ready: Vec<Ready>, most: usize) -> Vec<Vec<Ready>> {
    let (alone, shared): (Vec<_>, Vec<_>) = ready
        .into_iter()
        .partition(|mail| mail.send.alone || most < 2 || mail.send.sender_given == Some(true));
    let mut groups: Vec<Vec<Ready>> = Vec::new();
    for mail in shared {
        let contact = mail.send.contact_id;
        let from = sender_of(&mail.send.mail.from);
        let bytes = size(&mail);
        let fits = |group: &&mut Vec<Ready>| {
            group.len() < most
                && limits::BATCH
                    .check(group.iter().map(size).sum::<usize>() + bytes)
                    .is_ok()
                && sender_of(&group[0].send.mail.from) == from
                && group.iter().all(|one| one.send.contact_id != contact)
        };
        match groups.iter_mut().find(fits) {
            Some(group) => group.push(mail),
            None => groups.push(vec![mail]),
        }
    }
    groups.extend(alone.into_iter().map(|mail| vec![mail]));
    groups
}
