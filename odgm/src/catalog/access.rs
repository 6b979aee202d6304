//! The keys of those who may use the cluster.

use oprc_mesh::access::{
    ApiKey, ChangeKey, KEYS_MAX, KeyChange, ROOT, RotateKey, SCOPES_MAX, Scope, TOKENS_MAX, TokenHash,
};
use oprc_mesh::id::KeyName;
use oprc_mesh::outcome::{Code, Problem};

use super::draft::{Decision, Draft, unchanged};
use super::keys::CatalogKey;
use super::state::CatalogState;
use crate::record::CatalogItem;

/// Bytes of a token's hash.
const HASH_BYTES: usize = 32;

pub(super) fn change(state: &CatalogState, change: &ChangeKey, index: u64) -> Decision {
    match &change.change {
        Some(KeyChange::Create(key)) => create(state, key, index),
        Some(KeyChange::Rotate(rotate)) => self::rotate(state, rotate, index),
        Some(KeyChange::Revoke(name)) => revoke(state, name, index),
        None => Err(Problem::new(Code::Invalid, "the change of a key is of a kind unknown here")),
    }
}

fn create(state: &CatalogState, key: &ApiKey, index: u64) -> Decision {
    check(key)?;
    match state.keys.get(&key.name) {
        Some(known) if known == key => return unchanged(state),
        Some(_) => {
            let problem = Problem::new(Code::Conflict, format!("there is a key {} already", key.name));
            return Err(problem.hint("rotate or revoke it, or take another name"));
        }
        None if state.keys.len() >= KEYS_MAX => {
            let detail = format!("there are {KEYS_MAX} keys, as many as a cluster may have");
            return Err(Problem::new(Code::Conflict, detail).hint("revoke some that are not used"));
        }
        None => check_new(state, &key.tokens)?,
    }
    let mut draft = Draft::new(state, index);
    draft.put(CatalogItem::Key(key.clone()));
    draft.changed()
}

fn rotate(state: &CatalogState, rotate: &RotateKey, index: u64) -> Decision {
    let key = state.keys.get(&rotate.name).ok_or_else(|| absent(&rotate.name))?;
    if key.tokens.first() == Some(&rotate.token) {
        return unchanged(state);
    }
    check_new(state, std::slice::from_ref(&rotate.token))?;
    let mut tokens = vec![rotate.token.clone()];
    if rotate.before_until_ms > 0 {
        let before =
            key.tokens.first().map(|token| TokenHash { until_ms: rotate.before_until_ms, ..token.clone() });
        tokens.extend(before);
    }
    let mut draft = Draft::new(state, index);
    draft.put(CatalogItem::Key(ApiKey { tokens, ..key.clone() }));
    draft.changed()
}

fn revoke(state: &CatalogState, name: &str, index: u64) -> Decision {
    if !state.keys.contains_key(name) {
        return Err(absent(name));
    }
    let mut draft = Draft::new(state, index);
    draft.drop_record(CatalogKey::Key(name.to_owned()));
    draft.changed()
}

fn absent(name: &str) -> Problem {
    Problem::new(Code::NotFound, format!("there is no key {name:?}"))
}

fn check(key: &ApiKey) -> Result<(), Problem> {
    let invalid = |detail: String| Err(Problem::new(Code::Invalid, detail));
    KeyName::parse(&key.name)?;
    if key.name == ROOT {
        return invalid(format!("{ROOT} is the operator's own token; take another name"));
    }
    if key.scopes.is_empty() || key.scopes.len() > SCOPES_MAX {
        return invalid(format!("a key has 1 to {SCOPES_MAX} scopes, not {}", key.scopes.len()));
    }
    for scope in &key.scopes {
        Scope::parse(scope).map_err(|error| Problem::new(Code::Invalid, error.to_string()))?;
    }
    if key.tokens.is_empty() || key.tokens.len() > TOKENS_MAX {
        return invalid(format!("a key has 1 to {TOKENS_MAX} secrets, not {}", key.tokens.len()));
    }
    key.rates.unwrap_or_default().check()
}

/// Two keys never have a token's id in common: it tells whose the token is.
fn check_new(state: &CatalogState, tokens: &[TokenHash]) -> Result<(), Problem> {
    if tokens.iter().any(|token| token.hash.len() != HASH_BYTES) {
        return Err(Problem::new(Code::Invalid, "a secret is kept as its SHA-256"));
    }
    let known = |id| state.keys.values().flat_map(|key| &key.tokens).any(|token| token.id == id);
    if tokens.iter().any(|token| known(token.id)) {
        return Err(Problem::new(Code::Conflict, "another key has a secret of this id"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use oprc_mesh::access::Token;
    use oprc_mesh::rates::Rates;

    use super::*;
    use crate::catalog::change_tests::Bed;
    use crate::catalog::simulated::Simulated;
    use crate::record::CatalogCommand;

    fn key(name: &str, id: u64) -> ApiKey {
        let tokens = vec![Token::new(id, [id as u8; 32]).hash()];
        ApiKey { name: name.to_owned(), scopes: vec!["read".to_owned()], tokens, ..ApiKey::default() }
    }

    fn run(bed: &mut Bed, change: KeyChange) -> Result<(), Code> {
        let command = CatalogCommand::ChangeKey(ChangeKey { change: Some(change) });
        bed.run(&command).map(drop).map_err(|problem| problem.kind())
    }

    fn ids(bed: &Bed, name: &str) -> Vec<(u64, u64)> {
        let view = bed.state.view();
        let key = view.keys.iter().find(|key| key.name == name);
        key.into_iter().flat_map(|key| &key.tokens).map(|token| (token.id, token.until_ms)).collect()
    }

    #[test]
    fn keys_come_change_and_go() {
        let mut bed = Bed::default();
        assert_eq!(run(&mut bed, KeyChange::Create(key("ci", 1))), Ok(()));
        let revision = bed.state.view().revision;
        assert_eq!(run(&mut bed, KeyChange::Create(key("ci", 1))), Ok(()));
        assert_eq!(bed.state.view().revision, revision, "the same again changes nothing");
        assert_eq!(run(&mut bed, KeyChange::Create(key("ci", 2))), Err(Code::Conflict));
        assert_eq!(run(&mut bed, KeyChange::Create(key("other", 1))), Err(Code::Conflict));
        let rotate = |id, before_until_ms| {
            let token = Token::new(id, [9; 32]).hash();
            KeyChange::Rotate(RotateKey { name: "ci".to_owned(), token, before_until_ms })
        };
        assert_eq!(run(&mut bed, rotate(2, 500)), Ok(()));
        assert_eq!(ids(&bed, "ci"), [(2, 0), (1, 500)]);
        // the one before the last counts no more
        assert_eq!(run(&mut bed, rotate(3, 900)), Ok(()));
        assert_eq!(ids(&bed, "ci"), [(3, 0), (2, 900)]);
        assert_eq!(run(&mut bed, rotate(3, 1_000)), Ok(()));
        assert_eq!(ids(&bed, "ci"), [(3, 0), (2, 900)], "the same again changes nothing");
        assert_eq!(run(&mut bed, rotate(4, 0)), Ok(()));
        assert_eq!(ids(&bed, "ci"), [(4, 0)]);
        assert_eq!(run(&mut bed, KeyChange::Revoke("ci".to_owned())), Ok(()));
        assert!(bed.state.view().keys.is_empty());
        assert_eq!(run(&mut bed, KeyChange::Revoke("ci".to_owned())), Err(Code::NotFound));
        assert_eq!(run(&mut bed, rotate(5, 0)), Err(Code::NotFound));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let mut bed = Bed::default();
        let many = |count| ApiKey { scopes: vec!["read".to_owned(); count], ..key("a", 1) };
        let short = TokenHash { hash: bytes::Bytes::from_static(b"short"), ..TokenHash::default() };
        for bad in [
            key("", 1),
            key("1a", 1),
            key(ROOT, 1),
            many(0),
            many(SCOPES_MAX + 1),
            ApiKey { scopes: vec!["write".to_owned()], ..key("a", 1) },
            ApiKey { tokens: Vec::new(), ..key("a", 1) },
            ApiKey { tokens: vec![short], ..key("a", 1) },
            ApiKey { rates: Some(Rates { burst: 1, ..Rates::default() }), ..key("a", 1) },
        ] {
            assert_eq!(run(&mut bed, KeyChange::Create(bad.clone())), Err(Code::Invalid), "{bad:?}");
        }
        assert_eq!(run(&mut bed, KeyChange::Create(many(SCOPES_MAX))), Ok(()));
    }

    #[test]
    fn a_cluster_has_so_many_keys_and_no_more() {
        let mut catalog = Simulated::default();
        let mut create = |name: &str, id| {
            let change = ChangeKey { change: Some(KeyChange::Create(key(name, id))) };
            catalog.run(&CatalogCommand::ChangeKey(change)).map(drop).map_err(|problem| problem.kind())
        };
        for number in 0..KEYS_MAX as u64 {
            assert_eq!(create(&format!("k{number}"), number), Ok(()));
        }
        assert_eq!(create("more", 9_999), Err(Code::Conflict));
    }
}
