//! One keep-alive HTTP/1.1 connection that spends as little as it can: a request is bytes made beforehand, and of a
//! response only status and length are looked at. A general client would cost as much as what is measured, and on a
//! machine where both share the cores it would hide the difference.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A response's head is never longer: neither side of a measurement sends more than a few headers.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// A body is never longer either; the workloads' are small.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A connection with its buffer for responses.
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4 * 1024) })
    }

    /// Sends a request and reads its response; gives the status and the body.
    pub(super) async fn call(&mut self, request: &[u8]) -> Result<(u16, &[u8]), Error> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            if let Some(head) = Head::parse(&self.buffer)? {
                break head;
            }
            self.fill().await?;
        };
        let end = head.bytes + head.body_bytes;
        while self.buffer.len() < end {
            self.fill().await?;
        }
        if self.buffer.len() > end {
            return Err(Error::new(ErrorKind::InvalidData, "more came than the response's length says"));
        }
        Ok((head.status, &self.buffer[head.bytes..]))
    }

    async fn fill(&mut self) -> Result<(), Error> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(Error::new(ErrorKind::UnexpectedEof, "the server closed the connection")),
            _ => Ok(()),
        }
    }
}

/// What matters of a response's head.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Including the empty line.
    bytes: usize,
    body_bytes: usize,
}

impl Head {
    /// None while the head is not whole.
    fn parse(buffer: &[u8]) -> Result<Option<Self>, Error> {
        let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
            return if buffer.len() < HEAD_BYTES_MAX {
                Ok(None)
            } else {
                Err(invalid("its head is too long"))
            };
        };
        let head = std::str::from_utf8(&buffer[..end]).map_err(|_| invalid("its head is not text"))?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
        let status = status.ok_or_else(|| invalid("it does not begin with a status"))?;
        let mut length = None;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().ok().filter(|length| *length <= BODY_BYTES_MAX);
            }
        }
        let without_body = matches!(status, 204 | 304);
        let body_bytes = if without_body { Some(0) } else { length };
        let body_bytes = body_bytes.ok_or_else(|| invalid("it has no content-length within bounds"))?;
        Ok(Some(Self { status, bytes: end + 4, body_bytes }))
    }
}

fn invalid(why: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("a response cannot be read: {why}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx: y\r\n\r\n5\n";
        assert_eq!(Head::parse(response).unwrap(), Some(Head { status: 200, bytes: 44, body_bytes: 2 }));
        assert_eq!(Head::parse(&response[..43]).unwrap(), None);
        let nothing = Head::parse(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().unwrap();
        assert_eq!((nothing.status, nothing.body_bytes), (204, 0));
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        for response in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n", "hello\r\n\r\n"] {
            assert!(Head::parse(response.as_bytes()).is_err(), "{response}");
        }
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert!(Head::parse(chunked).is_err());
        assert!(Head::parse(&[b'x'; HEAD_BYTES_MAX]).is_err());
    }

    #[tokio::test]
    async fn a_response_in_pieces_is_put_together() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 3];
            stream.read_exact(&mut request).await.unwrap();
            for piece in ["HTTP/1.1 200 OK\r\ncontent-le", "ngth: 5\r\n\r", "\nhe", "llo"] {
                stream.write_all(piece.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
                tokio::task::yield_now().await;
            }
            request
        });
        let mut connection = Connection::open(address).await.unwrap();
        assert_eq!(connection.call(b"GET").await.unwrap(), (200, &b"hello"[..]));
        assert_eq!(&server.await.unwrap(), b"GET");
    }
}
