//! Mails nobody has tried: which provider each goes to, its bytes, and which travel together.

use chrono::TimeDelta;

use super::providers::{Providers, Shut, Way, sender_of};
use super::{Ready, Work, conclude, postpone, untry};
use crate::calls::Open;
use crate::context::Context;
use crate::db::{self, ClaimedSend, PluginCall};
use crate::mail::compose::sender;
use crate::mail::fate::{Settled, Standing};
use crate::plugins::DeliveryRef;

/// How long mails nobody takes are kept before they are looked at though nobody called them.
const KEPT: TimeDelta = TimeDelta::hours(1);
/// How long a mail waits whose provider's plugin does not work.
const PLUGIN: TimeDelta = TimeDelta::seconds(30);

/// Puts mails nobody has tried into requests.
pub(super) async fn route(
    cx: &Context,
    providers: &mut Providers,
    sends: Vec<ClaimedSend>,
    works: &mut Vec<Work>,
) -> db::Result<()> {
    let mut going: Vec<(DeliveryRef, Vec<(ClaimedSend, bool)>)> = Vec::new();
    let mut kept: Vec<(String, Shut, Vec<ClaimedSend>)> = Vec::new();
    for mut send in sends {
        let mut address = sender_of(&send.mail.from);
        let mut restamped = false;
        let own = sender(cx, send.transactional);
        // The installation's sender was refused, and it has another one since.
        if send.sender_given == Some(false)
            && address != sender_of(&own)
            && providers.refuses(&address)
        {
            send.mail.from.clone_from(&own);
            send.prepared = None;
            address = sender_of(&own);
            restamped = true;
        }
        match providers.choose(cx, &address).await? {
            Way::Open(provider, tried) if tried.is_empty() => {
                let id = provider.id().to_owned();
                match going.iter_mut().find(|(one, _)| one.id() == id) {
                    Some((_, mails)) => mails.push((send, restamped)),
                    None => going.push((provider, vec![(send, restamped)])),
                }
            }
            Way::Open(provider, tried) => {
                let group = prepare(cx, &provider, vec![(send, restamped)]).await?;
                if group.is_empty() {
                    untry(cx, &tried).await?;
                }
                works.extend(Work::of(provider, group, tried));
            }
            Way::Shut(shut) => match kept.iter_mut().find(|(one, ..)| *one == address) {
                Some((_, _, mails)) => mails.push(send),
                None => kept.push((address, shut, vec![send])),
            },
        }
    }
    for (provider, mails) in going {
        let ready = prepare(cx, &provider, mails).await?;
        let most = provider.capabilities().batch_max as usize;
        for group in together(ready, most) {
            works.extend(Work::of(provider.clone(), group, Vec::new()));
        }
    }
    for (address, shut, mails) in kept {
        if shut.limit {
            postpone(cx, &mails, shut.until, &shut.reason).await?;
        } else {
            let mut conn = cx.db.conn().await?;
            let sends: Vec<&ClaimedSend> = mails.iter().collect();
            let until = cx.clock.now() + KEPT;
            db::sends_keep(&mut conn, &sends, &address, until, &shut.reason).await?;
        }
    }
    Ok(())
}

/// Makes the provider's bytes, or takes those frozen before. Mails the provider can never take end
/// here.
pub(super) async fn prepare(
    cx: &Context,
    provider: &DeliveryRef,
    sends: Vec<(ClaimedSend, bool)>,
) -> db::Result<Vec<Ready>> {
    let mut ready = Vec::with_capacity(sends.len());
    let mut before: Option<Open> = None;
    for (send, restamped) in sends {
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
            Ok(Ok(prepared)) => ready.push(Ready {
                send,
                prepared,
                restamped,
            }),
            Ok(Err(reason)) => {
                let failed = [Settled::decided(&send, Standing::failed(reason))];
                conclude::decide(cx, &failed).await?;
            }
            Err(error) => {
                tracing::error!(send.id = %send.id, %error, "the provider's plugin gave no answer");
                let until = cx.clock.now() + PLUGIN;
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

/// Puts mails of one sender into requests of at most `most`, never two to one person into the same,
/// so that what one decides about a person is known when the other is decided.
fn together(ready: Vec<Ready>, most: usize) -> Vec<Vec<Ready>> {
    let (alone, social): (Vec<_>, Vec<_>) = ready
        .into_iter()
        .partition(|mail| mail.send.alone || most < 2 || mail.send.sender_given == Some(true));
    let mut groups: Vec<Vec<Ready>> = Vec::new();
    for mail in social {
        let person = mail.send.contact_id;
        let from = sender_of(&mail.send.mail.from);
        let fits = |group: &&mut Vec<Ready>| {
            group.len() < most
                && sender_of(&group[0].send.mail.from) == from
                && group.iter().all(|one| one.send.contact_id != person)
        };
        match groups.iter_mut().find(fits) {
            Some(group) => group.push(mail),
            None => groups.push(vec![mail]),
        }
    }
    groups.extend(alone.into_iter().map(|mail| vec![mail]));
    groups
}
