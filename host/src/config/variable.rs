//! An environment variable, and what production asks of it.

/// One environment variable.
pub struct Variable {
    pub name: &'static str,
    /// Empty if there is none.
    pub default: &'static str,
    /// One line, in Markdown.
    pub help: &'static str,
    /// What production asks of it.
    pub(super) rules: &'static [Rule],
}

/// What production asks of a variable, where a process sends mail or serves requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// It has to be set; the text says to what.
    Required(&'static str),
    /// It has to be set, or a setting of the delivery plugin in its place.
    RequiredOrPlugin(&'static str),
    /// A secret has so many characters at least.
    Characters(usize),
    Https,
    NoLoopback,
}

impl Rule {
    fn describe(self) -> String {
        match self {
            Self::Required(_) => "required".into(),
            Self::RequiredOrPlugin(_) => "required, or the delivery plugin's own".into(),
            Self::Characters(least) => format!("{least} characters or more"),
            Self::Https => "https".into(),
            Self::NoLoopback => "and not a loopback address".into(),
        }
    }
}

impl Variable {
    pub(super) const fn in_production(mut self, rules: &'static [Rule]) -> Self {
        self.rules = rules;
        self
    }

    /// What production asks of it, in words; empty if that is nothing.
    pub fn production(&self) -> String {
        let rules: Vec<String> = self.rules.iter().map(|rule| rule.describe()).collect();
        rules.join(", ")
    }
}

pub(super) const fn variable(
    name: &'static str,
    default: &'static str,
    help: &'static str,
) -> Variable {
    Variable {
        name,
        default,
        help,
        rules: &[],
    }
}
