//! Who may do what: scopes, the keys that carry them, and the words in which both are written. Keys lie in the catalog;
//! gateways decide by them.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::id::{ClassName, IdError};
use crate::rates::Rates;

/// Scopes of one key or caller.
pub const SCOPES_MAX: usize = 64;
/// Keys of one cluster.
pub const KEYS_MAX: usize = 1_000;
/// Secrets of one key that count at the same time: the current one, and the one before while it may still be used.
pub const TOKENS_MAX: usize = 2;
/// The operator's own token is called so; no key of the catalog is.
pub const ROOT: &str = "root";
/// Before the id in a token, so that one that leaked is found by those who look for them.
const TOKEN_PREFIX: &str = "oprc_";

/// What a scope allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Read classes, objects, their fields and events.
    Read,
    /// Call methods and functions, write objects, and see what came of asynchronous calls.
    Invoke,
    /// Deploy and remove classes.
    Deploy,
    /// Everything, in every class; and hosts, keys and dead letters.
    Admin,
}

impl Action {
    const ALL: [Self; 4] = [Self::Read, Self::Invoke, Self::Deploy, Self::Admin];

    /// Its word in a scope.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Invoke => "invoke",
            Self::Deploy => "deploy",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An action, in all classes or in some: `read`, `invoke:Counter`, `deploy:Pay*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    action: Action,
    classes: Classes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Classes {
    All,
    One(ClassName),
    Beginning(String),
}

/// Why a text is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is not a scope: allowed is read, invoke or deploy, alone or with :CLASS or :BEGINNING*, and admin"
)]
pub struct ScopeError {
    given: String,
}

impl Scope {
    /// Parses `ACTION`, `ACTION:*`, `ACTION:CLASS` or `ACTION:BEGINNING*`.
    ///
    /// # Errors
    /// [`ScopeError`] for anything else; `admin` is for all classes alone.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let refused = || ScopeError { given: text.chars().take(80).collect() };
        let (word, classes) = text.split_once(':').unwrap_or((text, "*"));
        let action = Action::ALL.into_iter().find(|action| action.as_str() == word).ok_or_else(refused)?;
        if action == Action::Admin && text != word {
            return Err(refused());
        }
        let class = |text: &str| ClassName::parse(text).map_err(|_: IdError| refused());
        let classes = match classes.strip_suffix('*') {
            Some("") => Classes::All,
            Some(beginning) => Classes::Beginning(class(beginning)?.as_str().to_owned()),
            None => Classes::One(class(classes)?),
        };
        Ok(Self { action, classes })
    }

    fn allows(&self, action: Action, class: Option<&ClassName>) -> bool {
        if self.action == Action::Admin {
            return true;
        }
        let matches = match (&self.classes, class) {
            (Classes::All, _) => true,
            (_, None) => false,
            (Classes::One(one), Some(class)) => one == class,
            (Classes::Beginning(beginning), Some(class)) => class.as_str().starts_with(&**beginning),
        };
        self.action == action && matches
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.classes {
            Classes::All => write!(f, "{}", self.action),
            Classes::One(class) => write!(f, "{}:{class}", self.action),
            Classes::Beginning(beginning) => write!(f, "{}:{beginning}*", self.action),
        }
    }
}

/// All that somebody may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// Everything.
    pub fn all() -> Self {
        Self(vec![Scope { action: Action::Admin, classes: Classes::All }])
    }

    /// Those among `words` that are scopes: a token of somebody else's may hold other words.
    pub fn among<'w>(words: impl IntoIterator<Item = &'w str>) -> Self {
        Self(words.into_iter().filter_map(|word| Scope::parse(word).ok()).take(SCOPES_MAX).collect())
    }

    /// Whether `action` is allowed in `class`; without a class, in all of them.
    pub fn allow(&self, action: Action, class: Option<&ClassName>) -> bool {
        self.0.iter().any(|scope| scope.allows(action, class))
    }

    /// Whether anything is allowed in `class`.
    pub fn know(&self, class: &ClassName) -> bool {
        Action::ALL.into_iter().any(|action| self.allow(action, Some(class)))
    }
}

/// A key of the cluster, as the catalog keeps it: without its secret.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ApiKey {
    /// What it is called by: a [`KeyName`](crate::id::KeyName), unique.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What it allows, each a [`Scope`].
    #[prost(string, repeated, tag = "2")]
    pub scopes: Vec<String>,
    /// The secrets that count, the newest first; at the most [`TOKENS_MAX`].
    #[prost(message, repeated, tag = "3")]
    pub tokens: Vec<TokenHash>,
    /// When it was made, in milliseconds since the Unix epoch.
    #[prost(uint64, tag = "4")]
    pub created_at_ms: u64,
    /// From when on it allows nothing, in milliseconds since the Unix epoch; 0 for never.
    #[prost(uint64, tag = "5")]
    pub expires_at_ms: u64,
    /// How much it may ask of each gateway; absent for as much as there is.
    #[prost(message, optional, tag = "8")]
    pub rates: Option<Rates>,
}

/// What is known of a token.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TokenHash {
    /// The part of the token that is no secret; tells it from all others.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// SHA-256 of the whole token. It has 256 bits of chance in it: nothing slower is needed.
    #[prost(bytes = "bytes", tag = "2")]
    pub hash: bytes::Bytes,
    /// From when on it does not count, in milliseconds since the Unix epoch; 0 for never.
    #[prost(uint64, tag = "3")]
    pub until_ms: u64,
}

/// Changes the keys.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ChangeKey {
    /// What is to be done.
    #[prost(oneof = "KeyChange", tags = "1, 2, 3")]
    pub change: Option<KeyChange>,
}

impl ApiKey {
    /// Whether a token that hashes to `shown` is one of the key's that count at `now_ms`. Takes the same time whatever the
    /// hashes are.
    pub fn counts(&self, shown: &TokenHash, now_ms: u64) -> bool {
        let still = |end_ms: u64| end_ms == 0 || now_ms < end_ms;
        let same = |one: &[u8], other: &[u8]| {
            one.len() == other.len() && one.iter().zip(other).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
        };
        let mut tokens = self.tokens.iter().filter(|token| token.id == shown.id && still(token.until_ms));
        still(self.expires_at_ms) && tokens.any(|token| same(&token.hash, &shown.hash))
    }
}

/// See [`ChangeKey`].
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum KeyChange {
    /// Make a key. The same again changes nothing.
    #[prost(message, tag = "1")]
    Create(ApiKey),
    /// Give a key another secret.
    #[prost(message, tag = "2")]
    Rotate(RotateKey),
    /// Forget the key of this name.
    #[prost(string, tag = "3")]
    Revoke(String),
}

/// See [`KeyChange::Rotate`].
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RotateKey {
    /// The key's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The new secret.
    #[prost(message, required, tag = "2")]
    pub token: TokenHash,
    /// Until when the secret before counts as well, in milliseconds since the Unix epoch; 0 for no longer.
    #[prost(uint64, tag = "3")]
    pub before_until_ms: u64,
}

/// A secret that its holder shows: `oprc_<id, 16 hexadecimal digits>_<64 hexadecimal digits>`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    id: u64,
    text: String,
}

impl Token {
    /// A new one, of these random numbers.
    pub fn new(id: u64, secret: [u8; 32]) -> Self {
        use fmt::Write as _;
        let mut text = format!("{TOKEN_PREFIX}{id:016x}_");
        for byte in secret {
            let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        }
        Self { id, text }
    }

    /// Whether a text is meant as one of ours, well formed or not.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(TOKEN_PREFIX)
    }

    /// Parses a token; none when it is not formed as one.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(TOKEN_PREFIX)?.split_once('_')?;
        let hex = |part: &str, digits: usize| {
            part.len() == digits && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        if !hex(id, 16) || !hex(secret, 64) {
            return None;
        }
        Some(Self { id: u64::from_str_radix(id, 16).ok()?, text: text.to_owned() })
    }

    /// The part that is no secret.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// The whole, to be shown once to whom it is for.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// What is kept of it.
    pub fn hash(&self) -> TokenHash {
        let hash: [u8; 32] = Sha256::digest(self.text.as_bytes()).into();
        TokenHash { id: self.id, hash: bytes::Bytes::copy_from_slice(&hash), until_ms: 0 }
    }
}

/// Never the secret.
/// Credentials that are none of those that are taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the credentials are not one bearer token")]
pub struct NotBearer;

/// The token in the values of `Authorization` headers (RFC 6750, 2.1), each none where it is no text; none without any.
///
/// # Errors
/// [`NotBearer`]: another scheme, or several.
pub fn bearer<'v>(mut values: impl Iterator<Item = Option<&'v str>>) -> Result<Option<&'v str>, NotBearer> {
    let Some(value) = values.next() else { return Ok(None) };
    match value.and_then(|value| value.split_once(' ')) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && values.next().is_none() => {
            Ok(Some(token.trim()))
        }
        _ => Err(NotBearer),
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{TOKEN_PREFIX}{:016x}_...", self.id)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn class(name: &str) -> ClassName {
        ClassName::parse(name).unwrap()
    }

    #[test]
    fn a_scope_is_written_as_it_is_read() {
        for text in ["read", "invoke:Counter", "deploy:Pay*", "admin"] {
            assert_eq!(Scope::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Scope::parse("read:*").unwrap().to_string(), "read");
        for bad in [
            "",
            "write",
            "Read",
            "read:",
            "read:*Pay",
            "read:a b",
            "admin:*",
            "admin:Pay",
            "read:A:B",
            " read",
        ] {
            let error = Scope::parse(bad).unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")) && error.contains("invoke"), "{error}");
        }
    }

    #[test]
    fn a_scope_allows_its_action_in_its_classes_alone() {
        let scopes = Scopes::among(["read:Counter", "invoke:Pay*", "deploy", "not-ours"]);
        for (action, name, allowed) in [
            (Action::Read, "Counter", true),
            (Action::Read, "Counters", false),
            (Action::Read, "Pay", false),
            (Action::Invoke, "Pay", true),
            (Action::Invoke, "Payment", true),
            (Action::Invoke, "Counter", false),
            (Action::Deploy, "Anything", true),
            (Action::Admin, "Counter", false),
        ] {
            assert_eq!(scopes.allow(action, Some(&class(name))), allowed, "{action} {name}");
        }
        assert!(scopes.allow(Action::Deploy, None) && !scopes.allow(Action::Read, None));
        assert!(!Scopes::among(["read:Counter"]).know(&class("Other")));
        assert!(Scopes::among(["invoke:C*"]).know(&class("Counter")));
        for action in Action::ALL {
            assert!(Scopes::all().allow(action, Some(&class("Any"))) && Scopes::all().allow(action, None));
            assert!(!Scopes::default().allow(action, Some(&class("Any"))));
        }
    }

    #[test]
    fn a_token_is_read_as_it_was_made_and_shows_no_secret() {
        let token = Token::new(0xab, [7; 32]);
        assert_eq!(token.reveal(), format!("oprc_00000000000000ab_{}", "07".repeat(32)));
        assert_eq!(Token::parse(token.reveal()), Some(token.clone()));
        assert!(!format!("{token:?}").contains("0707"));
        assert_eq!(token.hash().hash.len(), 32);
        assert_ne!(token.hash().hash, Token::new(0xab, [8; 32]).hash().hash);
        let whole = token.reveal();
        for bad in
            [&whole[..whole.len() - 1], &whole.to_uppercase(), "oprc_", "oprc_1_2", &format!("{whole}0"), "x"]
        {
            assert_eq!(Token::parse(bad), None, "{bad}");
        }
    }
}
