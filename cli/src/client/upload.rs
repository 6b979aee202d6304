//! A component on its way to the server: sent in pieces, so that its progress can be shown.

use std::collections::VecDeque;
use std::convert::Infallible;

use bytes::Bytes;
use futures::stream;
use indicatif::ProgressBar;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, RequestBuilder};

const PIECE_BYTES: usize = 64 * 1024;

/// The body of a deployment.
pub(crate) struct Upload {
    content_type: String,
    parts: VecDeque<Bytes>,
    progress: ProgressBar,
}

impl Upload {
    /// A component alone, or with its manifest's text as `multipart/form-data` (RFC 7578).
    pub(crate) fn new(component: Bytes, manifest: Option<String>, progress: ProgressBar) -> Self {
        let (content_type, parts) = match manifest {
            None => ("application/wasm".to_owned(), VecDeque::from([component])),
            Some(manifest) => multipart(component, &manifest),
        };
        let upload = Self { content_type, parts, progress };
        upload.progress.set_length(upload.size() as u64);
        upload
    }

    fn size(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    pub(crate) fn into_request(self, request: RequestBuilder) -> RequestBuilder {
        let request = request
            .header(CONTENT_TYPE, self.content_type.as_str())
            .header(CONTENT_LENGTH, self.size().to_string());
        let pieces = stream::unfold((self.parts, self.progress), |(mut parts, progress)| async move {
            let piece = next_piece(&mut parts)?;
            progress.inc(piece.len() as u64);
            Some((Ok::<_, Infallible>(piece), (parts, progress)))
        });
        request.body(Body::wrap_stream(pieces))
    }
}

fn next_piece(parts: &mut VecDeque<Bytes>) -> Option<Bytes> {
    loop {
        let part = parts.front_mut()?;
        if part.is_empty() {
            parts.pop_front();
        } else {
            return Some(part.split_to(part.len().min(PIECE_BYTES)));
        }
    }
}

fn multipart(component: Bytes, manifest: &str) -> (String, VecDeque<Bytes>) {
    let boundary = boundary(&component, manifest);
    let head = |name: &str, ty: &str| {
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\nContent-Type: {ty}\r\n\r\n"
        )
    };
    let first = format!(
        "{}{manifest}\r\n{}",
        head("manifest", "application/toml"),
        head("component", "application/wasm")
    );
    let last = format!("\r\n--{boundary}--\r\n");
    let content_type = format!("multipart/form-data; boundary={boundary}");
    (content_type, VecDeque::from([first.into(), component, last.into()]))
}

/// A boundary that occurs in neither part.
fn boundary(component: &[u8], manifest: &str) -> String {
    let occurs = |boundary: &str| {
        manifest.contains(boundary)
            || component.windows(boundary.len()).any(|window| window == boundary.as_bytes())
    };
    let mut boundary = String::from("oprc-part");
    while occurs(&boundary) {
        boundary.push('-');
    }
    boundary
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(parts: &VecDeque<Bytes>) -> String {
        parts.iter().map(|part| String::from_utf8_lossy(part).into_owned()).collect()
    }

    #[test]
    fn both_parts_are_framed() {
        let (content_type, parts) = multipart(Bytes::from_static(b"WASM"), "[class]");
        assert_eq!(content_type, "multipart/form-data; boundary=oprc-part");
        let expected = "--oprc-part\r\nContent-Disposition: form-data; name=\"manifest\"\r\nContent-Type: \
                        application/toml\r\n\r\n[class]\r\n--oprc-part\r\nContent-Disposition: form-data; \
                        name=\"component\"\r\nContent-Type: application/wasm\r\n\r\nWASM\r\n--oprc-part--\r\n";
        assert_eq!(text(&parts), expected);
    }

    #[test]
    fn the_boundary_never_occurs_in_a_part() {
        let (content_type, _) = multipart(Bytes::from_static(b"x oprc-part y"), "# oprc-part-");
        assert_eq!(content_type, "multipart/form-data; boundary=oprc-part--");
    }

    #[test]
    fn pieces_make_up_the_whole() {
        let whole: Vec<u8> = (0..PIECE_BYTES * 2 + 5).map(|n| n as u8).collect();
        let mut parts =
            VecDeque::from([Bytes::new(), Bytes::from(whole.clone()), Bytes::from_static(b"end")]);
        let mut sizes = Vec::new();
        let mut seen = Vec::new();
        while let Some(piece) = next_piece(&mut parts) {
            sizes.push(piece.len());
            seen.extend_from_slice(&piece);
        }
        assert_eq!(sizes, [PIECE_BYTES, PIECE_BYTES, 5, 3]);
        assert_eq!(seen, [&whole[..], b"end"].concat());
    }
}
