//! The states stored in the database, each defined once for the word in the column, the enum in Rust and
//! the enumeration in the OpenAPI document. The integration test `states` compares them with the CHECK
//! constraints of the tables.
//!
//! `transitions!` is the table of transitions. The transition of a mail is decided by what a provider reports,
//! so its table is `mail/fate/stage.rs`.

/// Defines an enum whose variants are stored as words.
macro_rules! stored {
    (
        $(#[$meta:meta])*
        pub enum $name:ident as $schema:literal {
            $( $(#[$doc:meta])* $variant:ident = $word:literal, )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[derive(strum::Display, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
        pub enum $name {
            $( $(#[$doc])* #[strum(serialize = $word)] $variant, )+
        }

        impl $name {
            pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

            /// The word in the database and on the wire.
            pub fn name(self) -> &'static str {
                self.into()
            }

            pub fn parse(word: &str) -> Option<Self> {
                word.parse().ok()
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.name())
            }
        }

        impl sqlx::Type<sqlx::Postgres> for $name {
            fn type_info() -> sqlx::postgres::PgTypeInfo {
                <str as sqlx::Type<sqlx::Postgres>>::type_info()
            }

            fn compatible(ty: &sqlx::postgres::PgTypeInfo) -> bool {
                <str as sqlx::Type<sqlx::Postgres>>::compatible(ty)
            }
        }

        impl<'r> sqlx::Decode<'r, sqlx::Postgres> for $name {
            fn decode(
                value: sqlx::postgres::PgValueRef<'r>,
            ) -> Result<Self, sqlx::error::BoxDynError> {
                let word = <&str as sqlx::Decode<sqlx::Postgres>>::decode(value)?;
                Self::parse(word)
                    .ok_or_else(|| format!(concat!("'{}' is not a ", $schema), word).into())
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
                let words = Self::ALL.iter().map(|one| one.name());
                ObjectBuilder::new()
                    .schema_type(SchemaType::Type(Type::String))
                    .enum_values(Some(words))
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                $schema.into()
            }
        }
    };
}

stored! {
    /// The state of a run.
    pub enum RunState as "StateStatus" {
        /// A worker may advance it.
        Active = "active",
        /// It waits for a time or an event.
        Waiting = "waiting",
        /// The journey's code returned.
        Completed = "completed",
        /// The journey's code returned an error or panicked.
        Failed = "failed",
        /// It was ended before the code returned.
        Exited = "exited",
        /// It cannot go on: the code diverged, it could not be recorded, or workers died in it.
        Stuck = "stuck",
    }
}

stored! {
    /// The state of a mail. `mail/fate/stage.rs` decides which may follow which.
    pub enum SendStatus as "EmailStatus" {
        /// Due now or later.
        Queued = "queued",
        /// An attempt began and has not ended.
        Sending = "sending",
        /// The provider accepted it.
        Sent = "sent",
        Delivered = "delivered",
        Opened = "opened",
        Clicked = "clicked",
        Bounced = "bounced",
        Complained = "complained",
        /// It was not sent and never will be.
        Failed = "failed",
        /// The provider may have accepted it, and a retry could be a second mail.
        Ambiguous = "ambiguous",
        /// The host decided not to send it.
        Skipped = "skipped",
    }
}

stored! {
    /// The state of a webhook delivery or of an alert.
    pub enum DeliveryState as "DeliveryStatus" {
        /// An attempt is due now or later.
        Pending = "pending",
        Delivered = "delivered",
        /// Nothing retries it automatically.
        Failed = "failed",
    }
}

stored! {
    /// The state of an import.
    pub enum ImportState as "ImportStatus" {
        Pending = "pending",
        Running = "running",
        Completed = "completed",
        Failed = "failed",
    }
}

stored! {
    /// What a pause covers.
    pub enum PauseScope as "PauseScope" {
        /// All mail and all runs.
        Everything = "everything",
        /// The runs, mails and entries of one journey.
        Journey = "journey",
        /// The mails of one category.
        Category = "category",
    }
}

stored! {
    /// Who began a pause, which decides how it ends.
    pub enum PauseCause as "PauseCause" {
        /// An administrator.
        Operator = "operator",
        /// The spike guard: many times more contacts than usual entered the journey.
        Spike = "spike",
        /// A worker found that the database was restored from a backup, copied or moved.
        Restore = "restore",
    }
}

stored! {
    /// What failed.
    pub enum DeadLetterKind as "DeadLetterType" {
        /// A run.
        Journey = "journey",
        /// A mail.
        Email = "email",
        /// A webhook delivery.
        Webhook = "webhook",
        /// An event or properties for an analytics product.
        Analytics = "analytics",
    }
}

stored! {
    /// The state of a dead letter: the state of its run, mail or delivery.
    pub enum DeadLetterState as "DeadLetterStatus" {
        Failed = "failed",
        /// Runs only.
        Stuck = "stuck",
        /// Mails only.
        Ambiguous = "ambiguous",
    }
}

impl RunState {
    /// Workers or events may still change it.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Active | Self::Waiting)
    }

    /// Only an administrator may change it.
    pub fn is_broken(self) -> bool {
        matches!(self, Self::Failed | Self::Stuck)
    }

    /// It never opens again.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Exited)
    }
}

/// Defines which state may follow which. Each may follow itself, because a transition that is made twice is
/// made once.
macro_rules! transitions {
    ($(
        $(#[$doc:meta])*
        $name:ident { $($from:ident => [$($to:ident),*],)+ }
    )+) => { $(
        impl $name {
            $(#[$doc])*
            pub fn may_become(self, next: Self) -> bool {
                let allowed: &[Self] = match self {
                    $(Self::$from => &[$(Self::$to),*],)+
                };
                self == next || allowed.contains(&next)
            }
        }
    )+ };
}

transitions! {
    /// An open run goes anywhere, an administrator reopens or ends a broken one, and a forced restart ends even
    /// a completed one.
    RunState {
        Active => [Waiting, Completed, Failed, Exited, Stuck],
        Waiting => [Active, Completed, Failed, Exited, Stuck],
        Failed => [Active, Exited],
        Stuck => [Active, Exited],
        Completed => [Exited],
        Exited => [],
    }

    /// A delivery stays pending until it is delivered or given up; an administrator may retry a failed one.
    DeliveryState {
        Pending => [Delivered, Failed],
        Delivered => [],
        Failed => [Pending],
    }

    /// An import only moves forward.
    ImportState {
        Pending => [Running, Completed, Failed],
        Running => [Completed, Failed],
        Completed => [],
        Failed => [],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_word_is_read_as_it_is_written() {
        macro_rules! check {
            ($($name:ident)*) => { $(
                for one in $name::ALL {
                    assert_eq!($name::parse(one.name()), Some(*one));
                    assert_eq!(one.to_string(), one.name());
                    assert_eq!(serde_json::json!(one), one.name());
                }
                assert_eq!($name::parse("Failed"), None);
            )* };
        }
        check!(RunState SendStatus DeliveryState ImportState DeadLetterKind DeadLetterState);
    }

    #[test]
    fn a_dead_letter_has_the_state_of_what_it_stands_for() {
        for state in DeadLetterState::ALL {
            let name = state.name();
            let run = RunState::parse(name).is_some_and(RunState::is_broken);
            let mail = SendStatus::parse(name).is_some();
            assert!(run || mail, "{name}");
        }
        assert!(DeliveryState::parse(DeadLetterState::Failed.name()).is_some());
    }

    /// Every state is reachable from the first one.
    fn all_reachable<T: Copy + PartialEq + std::fmt::Debug>(
        all: &[T],
        may_become: impl Fn(T, T) -> bool,
    ) {
        let mut reached = vec![all[0]];
        let mut at = 0;
        while let Some(&from) = reached.get(at) {
            let next = all.iter().filter(|to| may_become(from, **to));
            let new: Vec<T> = next.filter(|to| !reached.contains(*to)).copied().collect();
            reached.extend(new);
            at += 1;
        }
        for one in all {
            assert!(reached.contains(one), "nothing leads to {one:?}");
        }
    }

    #[test]
    fn every_state_is_reachable_from_the_first() {
        all_reachable(RunState::ALL, RunState::may_become);
        all_reachable(DeliveryState::ALL, DeliveryState::may_become);
        all_reachable(ImportState::ALL, ImportState::may_become);
    }

    /// Follows the wanted transitions that the table allows and returns each state on the way.
    fn walk<T: Copy>(first: T, wanted: Vec<T>, may_become: impl Fn(T, T) -> bool) -> Vec<T> {
        let mut way = vec![first];
        for next in wanted {
            if may_become(way[way.len() - 1], next) {
                way.push(next);
            }
        }
        way
    }

    fn some<T: Copy + std::fmt::Debug + 'static>(
        all: &'static [T],
    ) -> impl Strategy<Value = Vec<T>> {
        prop::collection::vec(prop::sample::select(all), 0..12)
    }

    proptest! {
        #[test]
        fn a_run_that_is_over_never_opens_again(wanted in some(RunState::ALL)) {
            let way = walk(RunState::Active, wanted, RunState::may_become);
            let over = way.iter().skip_while(|state| !state.is_final());
            for state in over.clone() {
                prop_assert!(state.is_final(), "{way:?}");
            }
            let exited = over.skip_while(|state| **state != RunState::Exited);
            for state in exited {
                prop_assert_eq!(*state, RunState::Exited);
            }
        }

        #[test]
        fn a_broken_run_waits_for_an_administrator(
            broken in prop::sample::select(RunState::ALL).prop_filter("open", |one| one.is_broken()),
            next in prop::sample::select(RunState::ALL),
        ) {
            let decided = matches!(next, RunState::Active | RunState::Exited);
            prop_assert_eq!(broken.may_become(next), decided || broken == next);
        }

        #[test]
        fn a_transition_made_twice_is_made_once(
            run in prop::sample::select(RunState::ALL),
            delivery in prop::sample::select(DeliveryState::ALL),
            import in prop::sample::select(ImportState::ALL),
        ) {
            prop_assert!(run.may_become(run));
            prop_assert!(delivery.may_become(delivery));
            prop_assert!(import.may_become(import));
        }

        #[test]
        fn an_import_only_moves_forward(wanted in some(ImportState::ALL)) {
            let rank = |state: &ImportState| match state {
                ImportState::Pending => 0,
                ImportState::Running => 1,
                ImportState::Completed | ImportState::Failed => 2,
            };
            let way = walk(ImportState::Pending, wanted, ImportState::may_become);
            prop_assert!(way.is_sorted_by_key(rank), "{way:?}");
            let ends = way.iter().copied().filter(|state| rank(state) == 2);
            let mut ends: Vec<ImportState> = ends.collect();
            ends.dedup();
            prop_assert!(ends.len() <= 1, "{way:?}");
        }

        #[test]
        fn what_was_delivered_stays_delivered(wanted in some(DeliveryState::ALL)) {
            let way = walk(DeliveryState::Pending, wanted, DeliveryState::may_become);
            let after = way.iter().skip_while(|state| **state != DeliveryState::Delivered);
            for state in after {
                prop_assert_eq!(*state, DeliveryState::Delivered);
            }
        }
    }
}
