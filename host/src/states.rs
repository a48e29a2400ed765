//! The states of what the store keeps, each defined once: the word in the column, the enum in Rust and the
//! enumeration in the OpenAPI document. A test holds the CHECKs of the tables against them.

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
        pub enum $name {
            $( $(#[$doc])* $variant, )+
        }

        impl $name {
            pub const ALL: &'static [Self] = &[$( Self::$variant, )+];

            /// The word in the store and on the wire.
            pub fn name(self) -> &'static str {
                match self {
                    $( Self::$variant => $word, )+
                }
            }

            pub fn parse(word: &str) -> Option<Self> {
                match word {
                    $( $word => Some(Self::$variant), )+
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
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
                    .ok_or_else(|| format!(concat!("'{}' is no ", $schema), word).into())
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
    /// Where a run is. What may follow what is [`RunState::may_become`].
    pub enum RunState as "StateStatus" {
        /// A worker may advance it.
        Active = "active",
        /// It waits for a time or an event.
        Waiting = "waiting",
        Completed = "completed",
        /// The journey's code failed.
        Failed = "failed",
        /// It was ended before its end.
        Exited = "exited",
        /// It cannot go on: the code diverged, it could not be recorded, or a worker died in it.
        Stuck = "stuck",
    }
}

stored! {
    /// Where a mail is. What may follow what is decided in `mail/fate/stage.rs`.
    pub enum SendStatus as "EmailStatus" {
        /// Due now or later.
        Queued = "queued",
        /// An attempt began and has not ended.
        Sending = "sending",
        /// The provider has it.
        Sent = "sent",
        Delivered = "delivered",
        Opened = "opened",
        Clicked = "clicked",
        Bounced = "bounced",
        Complained = "complained",
        /// It surely did not go out and never will.
        Failed = "failed",
        /// The provider may have it, and a repeat could be a second mail.
        Ambiguous = "ambiguous",
        /// Decided against.
        Skipped = "skipped",
    }
}

stored! {
    /// Where something is that is delivered to an endpoint or a channel.
    pub enum DeliveryState as "DeliveryStatus" {
        Pending = "pending",
        Delivered = "delivered",
        Failed = "failed",
    }
}

stored! {
    /// Where an import is.
    pub enum ImportState as "ImportStatus" {
        Pending = "pending",
        Running = "running",
        Completed = "completed",
        Failed = "failed",
    }
}

impl RunState {
    /// Workers or events may still move it.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Active | Self::Waiting)
    }

    /// Only an administrator may move it.
    pub fn is_broken(self) -> bool {
        matches!(self, Self::Failed | Self::Stuck)
    }

    /// Nothing moves it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Exited)
    }

    /// The table of transitions: a run goes on while it is open, a broken one is reopened or ended by an
    /// administrator, and a final one stays as it is.
    pub fn may_become(self, next: Self) -> bool {
        use RunState::{Active, Completed, Exited, Failed, Stuck, Waiting};
        match self {
            Active | Waiting => true,
            Failed | Stuck => matches!(next, Active | Exited) || self == next,
            Completed | Exited => self == next,
        }
    }
}

impl ImportState {
    /// An import goes forward only.
    pub fn may_become(self, next: Self) -> bool {
        use ImportState::{Completed, Failed, Pending, Running};
        match self {
            Pending => true,
            Running => matches!(next, Running | Completed | Failed),
            Completed | Failed => self == next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_as_it_is_written() {
        for state in RunState::ALL {
            assert_eq!(RunState::parse(state.name()), Some(*state));
        }
        for state in SendStatus::ALL {
            assert_eq!(SendStatus::parse(state.name()), Some(*state));
        }
    }

    #[test]
    fn what_is_final_stays_and_what_is_broken_waits_for_a_decision() {
        for from in RunState::ALL {
            for to in RunState::ALL {
                let allowed = from.may_become(*to);
                if from.is_final() {
                    assert_eq!(allowed, from == to, "{from} to {to}");
                }
                if from.is_broken() && allowed && from != to {
                    assert!(matches!(to, RunState::Active | RunState::Exited), "{from} to {to}");
                }
            }
            assert!(from.may_become(*from), "{from} again");
        }
    }
}
