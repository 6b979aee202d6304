//! The page that Prometheus reads: all sources of a process, one after the other.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::sheet::{Sheet, Source};

/// The media type of a page.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// A source does not go into the format.
    #[error("writing the page of metrics: {0}")]
    Write(#[from] fmt::Error),
    /// A source panicked.
    #[error("reading the metrics: {0}")]
    Read(#[from] tokio::task::JoinError),
}

/// See the module.
pub struct Page {
    registry: Arc<Registry>,
    /// When the newest page was begun, and its text. Held while one is made: a flood of readers makes one page at a time.
    newest: Mutex<Option<(Instant, Arc<str>)>>,
}

impl Page {
    /// A page of these sources, and of which build they are. Each family must be told by one source alone.
    pub fn new(sources: impl IntoIterator<Item = Arc<dyn Source>>) -> Self {
        let mut registry = Registry::default();
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("oprc_build", "The version of this process", build);
        for source in sources {
            registry.register_collector(Box::new(Collected(source)));
        }
        Self { registry: Arc::new(registry), newest: Mutex::new(None) }
    }

    /// The text as of now: begun after this was asked.
    ///
    /// # Errors
    /// [`PageError`].
    pub async fn text(&self) -> Result<Arc<str>, PageError> {
        let asked = Instant::now();
        let mut newest = self.newest.lock().await;
        if let Some((begun, text)) = &*newest
            && *begun >= asked
        {
            return Ok(text.clone()); // made for somebody else while this one waited
        }
        let begun = Instant::now();
        let registry = self.registry.clone();
        let written = spawn_blocking(move || {
            let mut text = String::new();
            encode_registry(&mut text, &registry)?;
            encode_eof(&mut text)?;
            Ok::<_, fmt::Error>(text)
        });
        let text: Arc<str> = written.await??.into();
        *newest = Some((begun, text.clone()));
        Ok(text)
    }
}

struct Collected(Arc<dyn Source>);

impl fmt::Debug for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collected")
    }
}

impl Collector for Collected {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.tell(&mut Sheet(encoder))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::metrics::{COUNTS, Histogram};

    struct Three;

    impl Source for Three {
        fn tell(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
            sheet.counters("a", "A.", [([("by", "x\"\n")], 3)])?;
            sheet.gauge("b", "B.", 0.5)?;
            let histogram = Histogram::new(&COUNTS);
            histogram.observe(2);
            sheet.histogram("c", "C.", &histogram)
        }
    }

    #[tokio::test]
    async fn a_page_is_in_the_text_format() {
        let page = Page::new([Arc::new(Three) as Arc<dyn Source>]);
        let text = page.text().await.unwrap();
        let version = env!("CARGO_PKG_VERSION");
        for line in [
            "# TYPE oprc_build info",
            &format!("oprc_build_info{{version=\"{version}\"}} 1"),
            "# TYPE a counter",
            "a_total{by=\"x\\\"\\n\"} 3",
            "# HELP b B.",
            "b 0.5",
            "c_count 1",
            "c_sum 2.0",
            "c_bucket{le=\"1.0\"} 0",
            "c_bucket{le=\"2.0\"} 1",
            "c_bucket{le=\"+Inf\"} 1",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("\n# EOF\n"), "{text}");
    }

    #[tokio::test]
    async fn readers_at_the_same_time_share_a_page_and_later_ones_do_not() {
        let page = Page::new([]);
        let held = page.newest.lock().await;
        let (one, other) = (page.text(), page.text());
        tokio::pin!(one, other);
        assert!(futures::poll!(&mut one).is_pending() && futures::poll!(&mut other).is_pending());
        drop(held);
        let (one, other) = (one.await.unwrap(), other.await.unwrap());
        assert!(Arc::ptr_eq(&one, &other));
        assert!(!Arc::ptr_eq(&one, &page.text().await.unwrap()));
    }
}
