//! Tells who asks, by the keys of the catalog as this gateway knows it, and decides what they may.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{AUTHORIZATION, HeaderMap};
use oprc_mesh::Directory;
use oprc_mesh::access::{Action, ApiKey, ROOT, Scopes, Token, TokenHash};
use oprc_mesh::catalog::CatalogView;
use oprc_mesh::clock::now_ms;
use oprc_mesh::id::ClassName;
use oprc_mesh::outcome::{Code, Effect};
use parking_lot::RwLock;
use tokio::time::sleep;

use super::{Access, Need};
use crate::problem::Refusal;

/// The longest time between two looks at a clock that may be set: an expiry is not noticed later than that.
const LOOK: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Guard {
    access: Access,
    /// What those may do who may do everything.
    everything: Arc<Scopes>,
    known: RwLock<Arc<Known>>,
}

/// The keys of one revision of the catalog, by the ids of their tokens.
#[derive(Default)]
struct Known {
    revision: u64,
    tokens: HashMap<u64, Holder>,
}

struct Holder {
    token: TokenHash,
    expires_at_ms: u64,
    name: Arc<str>,
    scopes: Arc<Scopes>,
}

/// Who asks, and what they may do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identity {
    /// None where nobody is asked who they are.
    shown: Option<Shown>,
    scopes: Arc<Scopes>,
}

#[derive(Debug, Clone)]
struct Shown {
    token: Token,
    name: Arc<str>,
}

impl Guard {
    pub(crate) fn new(access: Access) -> Self {
        Self { access, everything: Arc::new(Scopes::all()), known: RwLock::default() }
    }

    /// Who sent these headers.
    ///
    /// # Errors
    /// `unauthenticated`.
    pub(crate) fn identify(&self, headers: &HeaderMap, view: &CatalogView) -> Result<Identity, Refusal> {
        if matches!(self.access, Access::Open) {
            return Ok(Identity { shown: None, scopes: self.everything.clone() });
        }
        let token = bearer(headers)?;
        self.holder(&token, view, now_ms()).ok_or_else(|| match view.revision {
            0 => unknown_yet(),
            _ => unauthenticated("the key does not count, or no more"),
        })
    }

    /// Whose token it is at `now_ms`; none when it does not count.
    fn holder(&self, token: &Token, view: &CatalogView, now_ms: u64) -> Option<Identity> {
        let hash = token.hash();
        let shown = |name: Arc<str>| Some(Shown { token: token.clone(), name });
        if let Access::Keys { root: Some(root) } = &self.access
            && same(&root.hash, &hash.hash)
        {
            return Some(Identity { shown: shown(ROOT.into()), scopes: self.everything.clone() });
        }
        let known = self.known(view);
        let holder = known.tokens.get(&token.id()).filter(|holder| holder.counts(&hash, now_ms))?;
        Some(Identity { shown: shown(holder.name.clone()), scopes: holder.scopes.clone() })
    }

    /// The keys of this view.
    fn known(&self, view: &CatalogView) -> Arc<Known> {
        let known = self.known.read().clone();
        if known.revision == view.revision {
            return known;
        }
        let tokens = view.keys.iter().flat_map(Holder::all).map(|holder| (holder.token.id, holder)).collect();
        let newer = Arc::new(Known { revision: view.revision, tokens });
        let mut known = self.known.write();
        if known.revision < view.revision {
            *known = newer.clone();
        }
        newer
    }

    /// The same caller, as it counts now.
    ///
    /// # Errors
    /// `unauthenticated` when it does no more.
    pub(crate) fn still(&self, identity: &Identity, view: &CatalogView) -> Result<Identity, Refusal> {
        let Some(shown) = &identity.shown else { return Ok(identity.clone()) };
        self.holder(&shown.token, view, now_ms()).ok_or_else(|| unauthenticated("the key counts no more"))
    }

    /// Returns when `identity` may no longer do `action` in `class`, with why.
    pub(crate) async fn denied(
        &self,
        identity: &Identity,
        action: Action,
        class: &ClassName,
        directory: &Directory,
    ) -> Refusal {
        if !identity.may_end() {
            return std::future::pending().await;
        }
        let mut views = directory.watch_view();
        loop {
            let view = views.borrow_and_update().clone();
            if let Err(refusal) = self.still(identity, &view).and_then(|identity| identity.check(Need::In(action, class))) {
                return refusal;
            }
            tokio::select! {
                // the directory lives as long as its gateway
                _ = views.changed() => {}
                () = sleep(LOOK) => {}
            }
        }
    }
}

impl Holder {
    fn all(key: &ApiKey) -> impl Iterator<Item = Self> {
        let name: Arc<str> = key.name.as_str().into();
        let scopes = Arc::new(Scopes::among(key.scopes.iter().map(String::as_str)));
        key.tokens.iter().map(move |token| Self {
            token: token.clone(),
            expires_at_ms: key.expires_at_ms,
            name: name.clone(),
            scopes: scopes.clone(),
        })
    }

    fn counts(&self, shown: &TokenHash, now_ms: u64) -> bool {
        let still = |end_ms: u64| end_ms == 0 || now_ms < end_ms;
        same(&self.token.hash, &shown.hash) && still(self.token.until_ms) && still(self.expires_at_ms)
    }
}

impl Identity {
    /// As a guest is told of it; empty for nobody in particular.
    pub(crate) fn caller(&self) -> String {
        self.shown.as_ref().map(|shown| format!("key:{}", shown.name)).unwrap_or_default()
    }

    /// Whether what it may do can end: nobody in particular may always do everything.
    pub(crate) fn may_end(&self) -> bool {
        self.shown.is_some()
    }

    /// Whether it may know of the class.
    pub(crate) fn knows(&self, class: &ClassName) -> bool {
        self.scopes.know(class)
    }

    /// Refuses what it may not do.
    ///
    /// # Errors
    /// `denied`, which names the scope that is missing.
    pub(crate) fn check(&self, need: Need<'_>) -> Result<(), Refusal> {
        match need {
            Need::AnyIn(class) if !self.scopes.know(class) => Err(denied(&format!("read:{class}"))),
            Need::In(action, class) if !self.scopes.allow(action, Some(class)) => {
                Err(denied(&format!("{action}:{class}")))
            }
            Need::Everywhere(action) if !self.scopes.allow(action, None) => Err(denied(action.as_str())),
            _ => Ok(()),
        }
    }
}

/// Whether two hashes are equal, in the same time whatever they are.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

/// The token that a request shows.
fn bearer(headers: &HeaderMap) -> Result<Token, Refusal> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let value = given.next().ok_or_else(|| unauthenticated("there are no credentials"))?;
    let (scheme, token) = value.to_str().ok().and_then(|value| value.split_once(' ')).unwrap_or_default();
    let token = Token::parse(token.trim());
    match token.filter(|_| scheme.eq_ignore_ascii_case("bearer") && given.next().is_none()) {
        Some(token) => Ok(token),
        None => Err(unauthenticated("the credentials are not formed as those that are taken here")),
    }
}

fn unauthenticated(detail: &str) -> Refusal {
    Refusal::new(Code::Unauthenticated, detail)
        .hint("send a key as `Authorization: Bearer oprc_...`; an administrator makes one with `oprc key create`")
        .effect(Effect::NotRun)
}

/// A gateway that has not heard of the catalog yet cannot tell.
fn unknown_yet() -> Refusal {
    Refusal::new(Code::Unavailable, "this gateway does not know the cluster's keys yet")
        .hint("try again in a moment")
        .effect(Effect::NotRun)
}

fn denied(missing: &str) -> Refusal {
    Refusal::new(Code::Denied, format!("the key does not allow this: its scopes lack {missing}"))
        .hint("use a key with this scope; see `oprc key create --help`")
        .effect(Effect::NotRun)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::headers;

    fn token(id: u64) -> Token {
        Token::new(id, [id as u8; 32])
    }

    fn view(revision: u64, keys: Vec<ApiKey>) -> CatalogView {
        CatalogView { revision, keys, ..CatalogView::default() }
    }

    fn key(name: &str, scopes: &[&str], tokens: Vec<TokenHash>, expires_at_ms: u64) -> ApiKey {
        let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
        ApiKey { name: name.to_owned(), scopes, tokens, created_at_ms: 0, expires_at_ms }
    }

    fn closed() -> Guard {
        Guard::new(Access::Keys { root: Some(token(1).hash()) })
    }

    #[test]
    fn a_key_counts_until_it_is_gone() {
        let guard = closed();
        let old = TokenHash { until_ms: 500, ..token(2).hash() };
        let with = view(1, vec![key("ci", &["read"], vec![token(3).hash(), old], 900)]);
        let counts = |id, view: &CatalogView, now| guard.holder(&token(id), view, now).is_some();
        for (id, now, expected) in
            [(1, 0, true), (1, 5_000, true), (2, 499, true), (2, 500, false), (3, 899, true), (3, 900, false)]
        {
            assert_eq!(counts(id, &with, now), expected, "{id} at {now}");
        }
        assert!(!counts(4, &with, 0));
        // the same id with another secret
        assert!(guard.holder(&Token::new(3, [9; 32]), &with, 0).is_none());
        assert!(!counts(3, &view(2, Vec::new()), 0), "revoked");
        assert!(Guard::new(Access::Keys { root: None }).holder(&token(1), &with, 0).is_none());
    }

    #[test]
    fn who_asks_is_in_the_header() {
        let guard = closed();
        let shown = token(1).reveal().to_owned();
        let asks = |pairs: &[(&'static str, &str)]| guard.identify(&headers(pairs), &view(1, Vec::new()));
        let identity = asks(&[("authorization", &format!("bearer {shown}"))]).unwrap();
        assert_eq!(identity.caller(), "key:root");
        // it knows no keys before it knows the catalog
        let stranger = format!("Bearer {}", token(2).reveal());
        let early = guard.identify(&headers(&[("authorization", &stranger)]), &view(0, Vec::new()));
        assert_eq!(early.unwrap_err().problem().kind(), Code::Unavailable);
        let both = format!("Bearer {shown}");
        let wrong = format!("Bearer {}", token(2).reveal());
        for bad in [
            &[][..],
            &[("authorization", "Bearer x")],
            &[("authorization", &shown)],
            &[("authorization", &format!("Basic {shown}"))],
            &[("authorization", &both), ("authorization", &both)],
            &[("authorization", &wrong)],
        ] {
            let refusal = asks(bad).unwrap_err();
            assert_eq!(refusal.problem().kind(), Code::Unauthenticated, "{bad:?}");
            assert!(!refusal.problem().detail.contains(token(2).reveal()));
        }
        let open = Guard::new(Access::Open).identify(&HeaderMap::new(), &view(1, Vec::new())).unwrap();
        assert_eq!(open.caller(), "");
        assert!(open.check(Need::Everywhere(Action::Admin)).is_ok());
    }

    #[test]
    fn what_is_missing_is_named() {
        let guard = closed();
        let scopes = &["read:Pay*", "invoke:Counter"];
        let view = view(1, vec![key("ci", scopes, vec![token(3).hash()], 0)]);
        let identity = guard.holder(&token(3), &view, 0).unwrap();
        let class = |name: &str| ClassName::parse(name).unwrap();
        let (pay, counter) = (class("Payment"), class("Counter"));
        assert!(identity.check(Need::In(Action::Read, &pay)).is_ok());
        assert!(identity.check(Need::AnyIn(&counter)).is_ok());
        for (need, missing) in [
            (Need::In(Action::Read, &counter), "read:Counter"),
            (Need::In(Action::Deploy, &pay), "deploy:Payment"),
            (Need::AnyIn(&class("Other")), "read:Other"),
            (Need::Everywhere(Action::Admin), "admin"),
        ] {
            let refusal = identity.check(need).unwrap_err();
            assert_eq!(refusal.problem().kind(), Code::Denied);
            assert!(refusal.problem().detail.ends_with(missing), "{}", refusal.problem().detail);
        }
        assert_eq!(identity.caller(), "key:ci");
    }
}
