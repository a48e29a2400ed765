//! Journeys that take one kind of step each.

use hogsend_plugin_api::journey::{
    self, Condition, Ctx, Journey, User, Waited, Weekday, days, hours, minutes,
};
use hogsend_plugin_api::{HttpMethod, HttpRequest, Properties};
use serde_json::json;

/// `url` is where the requests of `s-http` go.
pub fn journeys(url: &str) -> Vec<Journey> {
    let url = url.to_owned();
    let broken_url = url.clone();
    vec![
        Journey::new("s-wait", wait).trigger("s.wait"),
        Journey::new("s-lookback", lookback).trigger("s.lookback"),
        Journey::new("s-own", own).trigger("s.own"),
        Journey::new("s-sequence", sequence).trigger("s.sequence"),
        Journey::new("s-between", between).trigger("s.between"),
        Journey::new("s-two", two).trigger("s.two"),
        Journey::new("s-rest", rest).trigger("s.rest"),
        Journey::new("s-until", until).trigger("s.until"),
        Journey::new("s-digest", digest).trigger("s.digest"),
        Journey::new("s-throttle", throttle).trigger("s.throttle"),
        Journey::new("s-once", once).trigger("s.once"),
        Journey::new("s-person", person).trigger("s.person"),
        Journey::new("s-past", past).trigger("s.past"),
        Journey::new("s-other", other).trigger("s.other"),
        Journey::new("s-cross", cross).trigger("s.cross"),
        Journey::new("s-exit", exit).trigger("s.exit"),
        Journey::new("s-choose", choose).trigger("s.choose"),
        Journey::new("s-http", move |user, ctx| http(user, ctx, url.clone())).trigger("s.http"),
        Journey::new("s-ping", ping).trigger("s.ping"),
        Journey::new("s-pong", pong).trigger("s.pong"),
        Journey::new("s-gap", mails)
            .trigger("s.gap")
            .suppress(days(1)),
        Journey::new("s-mails", mails).trigger("s.mails"),
        Journey::new("s-nul", nul).trigger("s.nul"),
        Journey::new("s-many", many).trigger("s.many"),
        Journey::new("s-limit", limit).trigger("s.limit"),
        Journey::new("s-broken", move |user, ctx| {
            broken(user, ctx, broken_url.clone())
        })
        .trigger("s.broken"),
    ]
}

async fn wait(_: User, ctx: Ctx) -> journey::Result {
    let paid = ctx
        .wait_for("s.paid")
        .where_(Condition::eq("plan", "pro"))
        .timeout(days(4))
        .await;
    match paid {
        Waited::Event(event) => ctx.checkpoint(&format!("paid-{}", event.properties["amount"])),
        Waited::TimedOut => ctx.checkpoint("timed-out"),
    }
    Ok(())
}

async fn lookback(_: User, ctx: Ctx) -> journey::Result {
    let seen = ctx.wait_for("s.paid").timeout(days(1)).lookback(hours(2));
    match seen.await {
        Waited::Event(_) => ctx.checkpoint("seen"),
        Waited::TimedOut => ctx.checkpoint("timed-out"),
    }
    Ok(())
}

/// Waits for an event it triggers itself while it waits.
async fn own(_: User, ctx: Ctx) -> journey::Result {
    let wait = ctx.wait_for("s.self").timeout(days(1));
    let (waited, triggered) = futures_util::join!(wait, ctx.trigger("s.self"));
    triggered?;
    ctx.checkpoint(if waited.event().is_some() {
        "heard"
    } else {
        "deaf"
    });
    Ok(())
}

/// Triggers an event and waits for it then.
async fn sequence(_: User, ctx: Ctx) -> journey::Result {
    ctx.trigger("s.self").await?;
    let heard = ctx.wait_for("s.self").timeout(days(1)).await.event();
    ctx.checkpoint(if heard.is_some() { "heard" } else { "deaf" });
    Ok(())
}

/// As `sequence`, with a step between that sees the event.
async fn between(_: User, ctx: Ctx) -> journey::Result {
    ctx.trigger("s.self").await?;
    let known = ctx.history().has_event("s.self").await?.found;
    let heard = ctx.wait_for("s.self").timeout(days(1)).await.event();
    ctx.checkpoint(match (known, heard.is_some()) {
        (true, false) => "known",
        (_, true) => "heard",
        (false, false) => "deaf",
    });
    Ok(())
}

/// Waits for one event and then for another of the same name.
async fn two(_: User, ctx: Ctx) -> journey::Result {
    let mut amounts = Vec::new();
    for _ in 0..2 {
        let paid = ctx.wait_for("s.paid").timeout(days(1)).await.event();
        amounts.push(paid.map_or("none".to_owned(), |paid| {
            paid.properties["amount"].to_string()
        }));
    }
    ctx.checkpoint(&format!("two-{}", amounts.join("-")));
    Ok(())
}

/// Rests before it waits.
async fn rest(_: User, ctx: Ctx) -> journey::Result {
    ctx.sleep(hours(1)).await;
    let paid = ctx.wait_for("s.paid").timeout(days(1)).await.event();
    ctx.checkpoint(if paid.is_some() { "paid" } else { "timed-out" });
    Ok(())
}

async fn until(_: User, ctx: Ctx) -> journey::Result {
    let monday = ctx.when().next(Weekday::Mon).at(9, 30).await?;
    ctx.sleep_until(monday).label("monday").await;
    ctx.checkpoint(&format!("woke-{}", ctx.now().format("%FT%T")));
    Ok(())
}

async fn digest(_: User, ctx: Ctx) -> journey::Result {
    let digest = ctx.digest(hours(1)).await?;
    let texts: Vec<_> = digest
        .events
        .iter()
        .filter_map(|event| event.text("n"))
        .collect();
    ctx.checkpoint(&format!("{}-{}", digest.count, texts.join("")));
    Ok(())
}

/// Tells how many events gathered, and the first and last of those kept.
async fn many(_: User, ctx: Ctx) -> journey::Result {
    let digest = ctx.digest(hours(1)).await?;
    let numbers: Vec<_> = digest.events.iter().map(|it| &it.properties["n"]).collect();
    let [first, .., last] = &numbers[..] else {
        return Err(journey::Error::new("few events"));
    };
    ctx.checkpoint(&format!("{}: {first} to {last}", digest.count));
    Ok(())
}

/// Goes beyond the limit its event names.
async fn limit(_: User, ctx: Ctx) -> journey::Result {
    match ctx.event().text("of").unwrap_or_default() {
        "steps" => loop {
            ctx.checkpoint("on and on");
        },
        "label" => ctx.checkpoint(&"x".repeat(1_000)),
        "input" => {
            ctx.send("s-mail").prop("x", "x".repeat(2_000_000)).await?;
        }
        "properties" => {
            let many = (0..1_001).map(|n| (n.to_string(), json!(n))).collect();
            ctx.identify(many).await?;
        }
        _ => {
            ctx.once(&"k".repeat(20_000), async { Ok::<_, journey::Error>(1) })
                .await?;
        }
    }
    Ok(())
}

async fn throttle(_: User, ctx: Ctx) -> journey::Result {
    let passes = ctx.throttle(2, days(1)).await?;
    ctx.checkpoint(if passes { "passed" } else { "held" });
    Ok(())
}

async fn once(_: User, ctx: Ctx) -> journey::Result {
    let gift: journey::Result<String> = ctx
        .once("gift", async {
            ctx.trigger("s.gift").await?;
            Ok(format!(
                "gift of {}",
                ctx.event().text("n").unwrap_or("none")
            ))
        })
        .await;
    ctx.checkpoint(&gift?);
    Ok(())
}

async fn person(_: User, ctx: Ctx) -> journey::Result {
    let mut properties = Properties::new();
    properties.insert("level".into(), json!(3));
    ctx.identify(properties.clone()).await?;
    ctx.capture("level.reached", properties).await?;
    let contact = ctx.contact().await?.expect("the person is there");
    let subscribed = ctx.guard().is_subscribed().await?;
    let news = ctx.guard().is_subscribed_to("news").await?;
    ctx.checkpoint(&format!(
        "{}-{subscribed}-{news}",
        contact.properties["level"]
    ));
    Ok(())
}

async fn past(_: User, ctx: Ctx) -> journey::Result {
    let sent = ctx.send("t-plain").prop("word", "past").await?;
    assert!(sent.is_sent());
    let email = ctx.history().email("t-plain").await?;
    let journey = ctx.history().journey("s-past").await?;
    let events = ctx.history().events("s.past").within(hours(1)).await?;
    ctx.checkpoint(&format!(
        "{}-{}-{}-{}",
        email.sent,
        journey.entered,
        journey.active,
        events.len()
    ));
    Ok(())
}

async fn other(_: User, ctx: Ctx) -> journey::Result {
    ctx.trigger("s.invited")
        .for_user("friend")
        .prop("by", "u")
        .await?;
    Ok(())
}

/// Tells a friend, who tells them the same way at the same time.
async fn cross(_: User, ctx: Ctx) -> journey::Result {
    let friend = ctx.event().text("friend").unwrap_or_default().to_owned();
    ctx.trigger("s.met").for_user(&friend).await?;
    Ok(())
}

async fn exit(_: User, ctx: Ctx) -> journey::Result {
    if ctx.event().text("leave").is_some() {
        return ctx.exit("not interested");
    }
    ctx.sleep(days(1)).await;
    Ok(())
}

async fn choose(_: User, ctx: Ctx) -> journey::Result {
    let arm = ctx.variant("subject", &["a", "b"]).await?;
    let toss = ctx.random();
    ctx.sleep(hours(1)).await;
    // A replay sees the same.
    ctx.checkpoint(&format!("{arm}-{toss}"));
    Ok(())
}

async fn http(_: User, ctx: Ctx, url: String) -> journey::Result {
    let request = HttpRequest::new(HttpMethod::Post, format!("{url}/lead")).body("{}");
    let answer = ctx.http(request).await?;
    ctx.checkpoint(&format!("answered-{}", answer.status));
    Ok(())
}

async fn ping(_: User, ctx: Ctx) -> journey::Result {
    ctx.sleep(minutes(1)).await;
    ctx.trigger("s.pong").await?;
    Ok(())
}

async fn pong(_: User, ctx: Ctx) -> journey::Result {
    ctx.sleep(minutes(1)).await;
    ctx.trigger("s.ping").await?;
    Ok(())
}

async fn mails(_: User, ctx: Ctx) -> journey::Result {
    for word in ["one", "two"] {
        match ctx.send("t-plain").prop("word", word).await? {
            journey::Sent::Skipped { reason, .. } => ctx.checkpoint(&format!("{word}-{reason}")),
            other => ctx.checkpoint(&format!("{word}-{}", other.is_sent())),
        }
    }
    Ok(())
}

async fn nul(_: User, ctx: Ctx) -> journey::Result {
    let mut properties = Properties::new();
    properties.insert("te\0xt".into(), json!(["a\0b"]));
    ctx.identify(properties.clone()).await?;
    ctx.capture("odd", properties).await?;
    ctx.checkpoint("a\0b");
    Err(journey::Error::new("nul \0 here"))
}

/// Fails where nobody answers, with a wait beside it.
async fn broken(_: User, ctx: Ctx, url: String) -> journey::Result {
    ctx.trigger("s.before").await?;
    ctx.sleep(minutes(1)).await;
    let both = futures_util::try_join!(
        async {
            ctx.sleep(hours(1)).await;
            Ok::<_, journey::Error>(())
        },
        async { Ok(ctx.http(HttpRequest::new(HttpMethod::Get, url)).await?) }
    );
    both?;
    ctx.checkpoint("went-on");
    Ok(())
}
