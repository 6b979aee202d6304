//! The text of a stream of events, taken apart as it comes (Server-Sent Events, in the HTML standard).

/// A block longer than this is none of ours.
const BLOCK_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One block of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Block {
    /// Its name; empty for an event of the grid.
    pub(crate) name: String,
    /// The place after it, if it moves it.
    pub(crate) id: Option<String>,
    /// What it tells; empty when it only shows that the stream is alive.
    pub(crate) data: String,
}

/// Takes pieces of a stream and gives its blocks.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    block: Block,
    begun: bool,
    /// The last byte was a carriage return: a line feed after it belongs to it.
    returned: bool,
}

/// A block is too large.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

impl Parser {
    /// Takes a piece and gives the blocks that it completes.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<Vec<Block>, TooLarge> {
        let mut blocks = Vec::new();
        for &byte in piece {
            let follows = std::mem::replace(&mut self.returned, byte == b'\r');
            match byte {
                b'\n' if follows => {}
                b'\n' | b'\r' => blocks.extend(self.end_line()),
                _ => self.line.push(byte),
            }
            if self.line.len() + self.block.data.len() > BLOCK_BYTES_MAX {
                return Err(TooLarge);
            }
        }
        Ok(blocks)
    }

    fn end_line(&mut self) -> Option<Block> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            let begun = std::mem::take(&mut self.begun);
            let block = std::mem::take(&mut self.block);
            return begun.then_some(block);
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        self.begun = true;
        match field {
            "event" => value.clone_into(&mut self.block.name),
            "id" => self.block.id = Some(value.to_owned()),
            "data" => {
                if !self.block.data.is_empty() {
                    self.block.data.push('\n');
                }
                self.block.data.push_str(value);
            }
            _ => {} // comments, `retry`, and what is not known
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TEXT: &str = "retry: 1000\nid: A\n: watching\n\nid: B\ndata: {\"a\": 1}\n\nevent: gap\r\nid: C\r\ndata: x\r\ndata:y\r\n\r\n\n";

    fn block(name: &str, id: &str, data: &str) -> Block {
        Block { name: name.into(), id: Some(id.into()), data: data.into() }
    }

    #[test]
    fn blocks_come_whole_however_they_are_cut() {
        let expected = [block("", "A", ""), block("", "B", "{\"a\": 1}"), block("gap", "C", "x\ny")];
        for size in 1..=TEXT.len() {
            let mut parser = Parser::default();
            let pieces = TEXT.as_bytes().chunks(size);
            let blocks: Vec<_> = pieces.flat_map(|piece| parser.push(piece).unwrap()).collect();
            assert_eq!(blocks, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_block_has_its_bound() {
        let mut parser = Parser::default();
        parser.push(&vec![b'x'; BLOCK_BYTES_MAX]).unwrap();
        assert_eq!(parser.push(b"x"), Err(TooLarge));
    }
}
