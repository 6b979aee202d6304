//! Tells who asks, by the keys of the catalog as this gateway knows it or by a JWT, and decides what they may.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{AUTHORIZATION, HeaderMap};
use oprc_mesh::Directory;
use oprc_mesh::access::{Action, ApiKey, ROOT, Scopes, Token, TokenHash, bearer};
use oprc_mesh::catalog::CatalogView;
use oprc_mesh::clock::now_ms;
use oprc_mesh::id::ClassName;
use oprc_mesh::outcome::{Code, Effect};
use oprc_mesh::rates::Rates;
use parking_lot::RwLock;
use tokio::time::sleep;

use super::jwt::{self, Jwt, JwtError, Verified};
use super::refusals::{ill_formed, not_verified, unauthenticated, unknown_yet};
use super::{Access, Need};
use crate::problem::Refusal;

/// The longest time between two looks at a clock that may be set: an expiry is not noticed later than that.
const LOOK: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Guard {
    access: Access,
    /// What those may do who may do everything.
    everything: Arc<Scopes>,
    /// What the operator is called who shows the first token.
    root: Arc<str>,
    known: RwLock<Arc<Known>>,
    jwt: Option<Arc<Jwt>>,
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
    /// As a guest is told of it.
    caller: Arc<str>,
    scopes: Arc<Scopes>,
    rates: Rates,
}

/// Who asks, and what they may do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identity {
    /// None where nobody is asked who they are.
    shown: Option<Shown>,
    scopes: Arc<Scopes>,
}

/// By what somebody is known.
#[derive(Debug, Clone)]
enum Shown {
    Key { token: Token, caller: Arc<str>, rates: Rates },
    Jwt(Arc<Verified>),
}

impl Identity {
    /// Whether it was asked for, and shown in the request.
    pub(crate) fn is_known(&self) -> bool {
        self.shown.is_some()
    }
}

impl Guard {
    /// # Errors
    /// [`JwtError`]: JWTs are to count, and there is no way to tell which.
    pub(crate) fn new(access: Access) -> Result<Self, JwtError> {
        let jwt = match &access {
            Access::Keys { jwt: Some(config), .. } => Some(Arc::new(Jwt::open((**config).clone())?)),
            Access::Keys { jwt: None, .. } | Access::Open => None,
        };
        let (everything, root) = (Arc::new(Scopes::all()), called(ROOT));
        Ok(Self { access, everything, root, known: RwLock::default(), jwt })
    }

    /// What follows the keys of a JWT's issuer, for ever; none without JWTs.
    pub(crate) fn follow(&self) -> Option<impl Future<Output = ()> + Send + use<>> {
        self.jwt.clone().map(Jwt::follow)
    }

    /// Whose token it is; none is nobody's.
    ///
    /// # Errors
    /// `unauthenticated`, and `unavailable` as long as that cannot be told.
    pub(super) fn identify_token(&self, text: Option<&str>, view: &CatalogView) -> Result<Identity, Refusal> {
        if matches!(self.access, Access::Open) {
            return Ok(Identity { shown: None, scopes: self.everything.clone() });
        }
        let text = text.ok_or_else(|| unauthenticated("there are no credentials"))?;
        match (Token::parse(text), &self.jwt) {
            (Some(token), _) => self.holder(&token, view, now_ms()).ok_or_else(|| match view.revision {
                0 => unknown_yet("the cluster's keys"),
                _ => unauthenticated("the key does not count, or no more"),
            }),
            (None, Some(jwt)) if jwt::is_meant(text) => {
                let verified = jwt.verify(text, now_ms()).map_err(not_verified)?;
                Ok(Identity { scopes: verified.scopes().clone(), shown: Some(Shown::Jwt(verified)) })
            }
            _ => Err(ill_formed()),
        }
    }

    /// Who sent these headers, before anything is done for them. Where a JWT is by a key of the issuer that is not known yet, it
    /// waits for those that the issuer has now.
    ///
    /// # Errors
    /// As [`Self::identify_token`].
    pub(crate) async fn admit(&self, headers: &HeaderMap, view: &CatalogView) -> Result<Identity, Refusal> {
        let text = self.token_in(headers)?;
        let identified = self.identify_token(text, view);
        if let (Err(_), Some(jwt), Some(text)) = (&identified, &self.jwt, text)
            // boxed, as it is rare: every connection's own future stays small
            && Box::pin(jwt.learned_for(text)).await
        {
            return self.identify_token(Some(text), view);
        }
        identified
    }

    /// What these headers show, if that matters.
    fn token_in<'h>(&self, headers: &'h HeaderMap) -> Result<Option<&'h str>, Refusal> {
        match self.access {
            Access::Open => Ok(None),
            Access::Keys { .. } => {
                let given = headers.get_all(AUTHORIZATION).iter().map(|value| value.to_str().ok());
                bearer(given).map_err(|_| ill_formed())
            }
        }
    }

    /// Whose token it is at `now_ms`; none when it does not count.
    fn holder(&self, token: &Token, view: &CatalogView, now_ms: u64) -> Option<Identity> {
        let hash = token.hash();
        let shown = |caller: &Arc<str>, rates| {
            Some(Shown::Key { token: token.clone(), caller: caller.clone(), rates })
        };
        if let Access::Keys { root: Some(root), .. } = &self.access
            && same(&root.hash, &hash.hash)
        {
            let shown = shown(&self.root, Rates::default());
            return Some(Identity { shown, scopes: self.everything.clone() });
        }
        let known = self.known(view);
        let holder = known.tokens.get(&token.id()).filter(|holder| holder.counts(&hash, now_ms))?;
        Some(Identity { shown: shown(&holder.caller, holder.rates), scopes: holder.scopes.clone() })
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
        match (&identity.shown, &self.jwt) {
            (None, _) => Ok(identity.clone()),
            (Some(Shown::Key { token, .. }), _) => {
                self.holder(token, view, now_ms()).ok_or_else(|| unauthenticated("the key counts no more"))
            }
            (Some(Shown::Jwt(verified)), Some(jwt)) => {
                jwt.still(verified, now_ms()).map_err(not_verified)?;
                Ok(identity.clone())
            }
            (Some(Shown::Jwt(_)), None) => Err(ill_formed()),
        }
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
            if let Err(refusal) =
                self.still(identity, &view).and_then(|identity| identity.check(Need::In(action, class)))
            {
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
        let caller = called(&key.name);
        let scopes = Arc::new(Scopes::among(key.scopes.iter().map(String::as_str)));
        key.tokens.iter().map(move |token| Self {
            token: token.clone(),
            expires_at_ms: key.expires_at_ms,
            caller: caller.clone(),
            scopes: scopes.clone(),
            rates: key.rates.unwrap_or_default(),
        })
    }

    fn counts(&self, shown: &TokenHash, now_ms: u64) -> bool {
        let still = |end_ms: u64| end_ms == 0 || now_ms < end_ms;
        same(&self.token.hash, &shown.hash) && still(self.token.until_ms) && still(self.expires_at_ms)
    }
}

impl Identity {
    /// As a guest is told of it; empty for nobody in particular.
    pub(crate) fn caller(&self) -> &str {
        match &self.shown {
            None => "",
            Some(Shown::Key { caller, .. }) => caller,
            Some(Shown::Jwt(verified)) => verified.caller(),
        }
    }

    /// How much it may ask of this gateway.
    pub(crate) fn rates(&self) -> Rates {
        match &self.shown {
            Some(Shown::Key { rates, .. }) => *rates,
            // an issuer sets no limits here
            Some(Shown::Jwt(_)) | None => Rates::default(),
        }
    }

    /// A body of it may have so many bytes of the `bytes_max` that anybody's may have.
    pub(crate) fn body_bytes_max(&self, bytes_max: usize) -> usize {
        match self.rates().payload_kib {
            0 => bytes_max,
            kib => bytes_max.min(usize::try_from(kib).unwrap_or(usize::MAX).saturating_mul(1024)),
        }
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
            Need::AnyIn(class) if !self.scopes.know(class) => Err(self.lacks(&format!("read:{class}"))),
            Need::In(action, class) if !self.scopes.allow(action, Some(class)) => {
                Err(self.lacks(&format!("{action}:{class}")))
            }
            Need::Everywhere(action) if !self.scopes.allow(action, None) => Err(self.lacks(action.as_str())),
            _ => Ok(()),
        }
    }

    fn lacks(&self, scope: &str) -> Refusal {
        let (what, hint) = match &self.shown {
            Some(Shown::Jwt(_)) => ("token", "use a token to which its issuer gives this scope"),
            _ => ("key", "use a key with this scope; see `oprc key create --help`"),
        };
        Refusal::new(Code::Denied, format!("the {what} does not allow this: its scopes lack {scope}"))
            .hint(hint)
            .effect(Effect::NotRun)
    }
}

/// What the holder of a key of that name is called.
fn called(key: &str) -> Arc<str> {
    format!("key:{key}").into()
}

/// Whether two hashes are equal, in the same time whatever they are.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::headers;
    use futures::FutureExt as _;

    fn token(id: u64) -> Token {
        Token::new(id, [id as u8; 32])
    }

    fn view(revision: u64, keys: Vec<ApiKey>) -> CatalogView {
        CatalogView { revision, keys, ..CatalogView::default() }
    }

    fn key(name: &str, scopes: &[&str], tokens: Vec<TokenHash>, expires_at_ms: u64) -> ApiKey {
        let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
        ApiKey { name: name.to_owned(), scopes, tokens, expires_at_ms, ..ApiKey::default() }
    }

    fn closed() -> Guard {
        Guard::new(Access::Keys { root: Some(token(1).hash()), jwt: None }).unwrap()
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
        let rootless = Guard::new(Access::Keys { root: None, jwt: None }).unwrap();
        assert!(rootless.holder(&token(1), &with, 0).is_none());
    }

    /// Where no JWTs are taken nothing is waited for.
    fn admitted(guard: &Guard, pairs: &[(&'static str, &str)], revision: u64) -> Result<Identity, Refusal> {
        guard.admit(&headers(pairs), &view(revision, Vec::new())).now_or_never().unwrap()
    }

    #[test]
    fn who_asks_is_in_the_header() {
        let guard = closed();
        let shown = token(1).reveal().to_owned();
        let asks = |pairs: &[(&'static str, &str)]| admitted(&guard, pairs, 1);
        let identity = asks(&[("authorization", &format!("bearer {shown}"))]).unwrap();
        assert_eq!(identity.caller(), "key:root");
        // it knows no keys before it knows the catalog
        let stranger = format!("Bearer {}", token(2).reveal());
        let early = admitted(&guard, &[("authorization", &stranger)], 0);
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
        let open = admitted(&Guard::new(Access::Open).unwrap(), &[], 1).unwrap();
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
