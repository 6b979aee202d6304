//! Load that comes whether or not it is answered: so many requests in a second, by the clock. A client that waits for its
//! answers slows down with the server, and would never see it overloaded.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "figures for people, far from the ends of their types"
)]

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What is sent, one after the other in a circle.
#[derive(Clone)]
pub struct Offer {
    address: SocketAddr,
    requests: Arc<[Bytes]>,
    idle: Arc<Mutex<Vec<Line>>>,
}

/// What became of the requests of one run.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Requests that were due.
    pub offered: usize,
    /// How long each took that was answered 2xx, in microseconds and in order.
    pub admitted_us: Vec<u64>,
    /// Answers 429, and how many of them did not say when to come back.
    pub refused: usize,
    /// See [`Self::refused`].
    pub refused_without_word: usize,
    /// Any other answer, or none; with the first of them.
    pub failed: usize,
    /// See [`Self::failed`].
    pub complaint: Option<String>,
    /// How late the client itself was to send, in microseconds and in order: it shares the machine.
    pub behind_us: Vec<u64>,
}

impl Offer {
    /// POSTs with a JSON body.
    pub fn new(address: SocketAddr, paths: impl IntoIterator<Item = String>, body: &str) -> Self {
        let render = |path: String| {
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            Bytes::from(head + body)
        };
        Self { address, requests: paths.into_iter().map(render).collect(), idle: Arc::default() }
    }

    /// How many in a second are answered when `clients` call again as soon as they are.
    pub async fn closed(&self, clients: usize, time: Duration) -> f64 {
        let begun = Instant::now();
        let mut all = JoinSet::new();
        for client in 0..clients {
            let offer = self.clone();
            all.spawn(async move {
                let (mut done, mut at) = (0_u32, client * 7);
                while begun.elapsed() < time {
                    done += u32::from(matches!(offer.call(at).await, Ok((200..=299, _))));
                    at += clients;
                }
                done
            });
        }
        let done: u32 = all.join_all().await.into_iter().sum();
        f64::from(done) / begun.elapsed().as_secs_f64()
    }

    /// Sends `per_s` in a second for `time`, and waits for all answers.
    ///
    /// # Panics
    /// When a request's task does.
    pub async fn drive(&self, per_s: f64, time: Duration) -> Tally {
        let begun = Instant::now();
        let mut tally = Tally::default();
        let mut under_way = JoinSet::new();
        while begun.elapsed() < time {
            let due = (begun.elapsed().as_secs_f64() * per_s) as usize;
            while tally.offered < due {
                let (offer, at) = (self.clone(), tally.offered);
                let should = begun + Duration::from_secs_f64(at as f64 / per_s);
                under_way.spawn(async move {
                    let sent = Instant::now();
                    let outcome = offer.call(at).await;
                    (outcome, sent.elapsed(), sent.saturating_duration_since(should))
                });
                tally.offered += 1;
            }
            while let Some(done) = under_way.try_join_next() {
                tally.count(done.expect("no request panics"));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        while let Some(done) = under_way.join_next().await {
            tally.count(done.expect("no request panics"));
        }
        tally.admitted_us.sort_unstable();
        tally.behind_us.sort_unstable();
        tally
    }

    /// A connection that is there and that the server has not closed.
    fn kept(&self) -> Option<Line> {
        let mut idle = self.idle.lock().expect("no holder panics");
        std::iter::from_fn(|| idle.pop()).find(Line::is_open)
    }

    async fn call(&self, at: usize) -> Result<(u16, bool), Error> {
        let mut line = match self.kept() {
            Some(line) => line,
            None => Line::open(self.address).await?,
        };
        let answer = line.call(&self.requests[at % self.requests.len()]).await?;
        self.idle.lock().expect("no holder panics").push(line);
        Ok(answer)
    }
}

impl Tally {
    fn count(&mut self, (outcome, took, behind): (Result<(u16, bool), Error>, Duration, Duration)) {
        self.behind_us.push(behind.as_micros() as u64);
        match outcome {
            Ok((200..=299, _)) => self.admitted_us.push(took.as_micros() as u64),
            Ok((429, word)) => {
                self.refused += 1;
                self.refused_without_word += usize::from(!word);
            }
            other => {
                self.failed += 1;
                self.complaint.get_or_insert_with(|| format!("{other:?}"));
            }
        }
    }
}

/// Of times in order, the one that this part of them does not pass; 0 of none.
pub fn percentile(sorted_us: &[u64], part: f64) -> u64 {
    let at = (sorted_us.len() as f64 * part) as usize;
    sorted_us.get(at.min(sorted_us.len().saturating_sub(1))).copied().unwrap_or(0)
}

/// A connection that is kept.
struct Line {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Line {
    async fn open(address: SocketAddr) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(2_048) })
    }

    /// Whether the server may still be asked by it: it closes what has idled for long.
    fn is_open(&self) -> bool {
        matches!(self.stream.try_read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// The status of what is answered, and whether it says when to come back.
    async fn call(&mut self, request: &[u8]) -> Result<(u16, bool), Error> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let (status, word, end) = loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(Error::new(ErrorKind::UnexpectedEof, "the server closed the connection"));
            }
            if let Some(head) = head(&self.buffer) {
                break head;
            }
        };
        while self.buffer.len() < end {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(Error::new(ErrorKind::UnexpectedEof, "the server closed the connection"));
            }
        }
        Ok((status, word))
    }
}

/// Status, whether there is a `Retry-After`, and where the response ends; none while its head is not whole.
fn head(buffer: &[u8]) -> Option<(u16, bool, usize)> {
    let end = buffer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
    let status = head.get(9..12)?.parse().ok()?;
    let value =
        |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<usize>().ok());
    Some((status, value("retry-after:").is_some(), end + 4 + value("content-length:").unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let response = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(head(response), Some((429, true, response.len())));
        assert_eq!(head(&response[..20]), None);
        assert_eq!(head(b"HTTP/1.1 204 No Content\r\n\r\n"), Some((204, false, 27)));
    }

    #[test]
    fn percentiles_are_of_what_is_there() {
        let times: Vec<u64> = (1..=100).collect();
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|part| percentile(&times, part)), [1, 51, 100, 100]);
        assert_eq!(percentile(&[], 0.5), 0);
    }
}
