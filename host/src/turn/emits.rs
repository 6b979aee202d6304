//! What a turn has emitted so far.

use oprc_mesh::limits::{EMIT_BYTES_MAX, EMITS_MAX};
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::Emitted;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Emits {
    items: Vec<Emitted>,
    /// Topics and payloads in `items`.
    bytes: usize,
}

impl Emits {
    /// Takes one more.
    ///
    /// # Errors
    /// `write-limit` past the number or the bytes that one turn may emit. The turn ends with it.
    pub(super) fn add(&mut self, emitted: Emitted) -> Result<(), Problem> {
        let bytes = self.bytes + emitted.topic.len() + emitted.payload.len();
        if self.items.len() == EMITS_MAX || bytes > EMIT_BYTES_MAX {
            let detail = format!("the turn emits more than {EMITS_MAX} times or {EMIT_BYTES_MAX} bytes");
            return Err(Problem::new(Code::WriteLimit, detail)
                .hint("emit what others need to find the rest, and write the rest into fields"));
        }
        self.bytes = bytes;
        self.items.push(emitted);
        Ok(())
    }

    pub(super) fn into_items(self) -> Vec<Emitted> {
        self.items
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn emitted(bytes: usize) -> Emitted {
        Emitted { topic: "t".into(), payload: vec![0; bytes - 1].into() }
    }

    #[test]
    fn as_many_as_allowed_and_not_one_more() {
        let mut emits = Emits::default();
        for _ in 0..EMITS_MAX {
            emits.add(emitted(1)).unwrap();
        }
        assert_eq!(emits.add(emitted(1)).unwrap_err().kind(), Code::WriteLimit);
        assert_eq!(emits.into_items().len(), EMITS_MAX);
    }

    #[test]
    fn as_many_bytes_as_allowed_and_not_one_more() {
        let mut emits = Emits::default();
        assert_eq!(emits.add(emitted(EMIT_BYTES_MAX + 1)).unwrap_err().kind(), Code::WriteLimit);
        emits.add(emitted(EMIT_BYTES_MAX - 1)).unwrap();
        assert_eq!(emits.add(emitted(2)).unwrap_err().kind(), Code::WriteLimit);
        emits.add(emitted(1)).unwrap();
    }
}
