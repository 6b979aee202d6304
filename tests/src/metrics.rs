//! A page of metrics, read by the rules of the `OpenMetrics` text format: whatever breaks one of them fails the test.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Http, Kind, Server};

/// The media type of a page.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A whole page.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// The type of each family.
    pub families: BTreeMap<String, String>,
    /// All samples.
    pub samples: Vec<Sample>,
}

/// One line with a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its family.
    pub family: String,
    /// Its own name: that of the family, with a suffix by its type.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Metrics {
    /// Reads the page that `http` leads to.
    ///
    /// # Panics
    /// When there is none, or it breaks the format.
    pub async fn of(http: &Http) -> Self {
        let reply = http.get("/metrics").send().await.expect(200);
        assert_eq!(reply.header("content-type"), Some(MEDIA_TYPE));
        Self::parse(std::str::from_utf8(&reply.body).expect("a page is text"))
    }

    /// The page with the host's numbers.
    pub async fn of_host(server: &Server) -> Self {
        match server.kind() {
            Kind::Embedded => Self::of(&server.http()).await,
            Kind::Apart => Self::of(&server.health()).await,
        }
    }

    /// Parses a page.
    ///
    /// # Panics
    /// When it breaks the format.
    pub fn parse(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("a page ends with `# EOF`");
        let mut metrics = Self::default();
        let mut helped = BTreeSet::new();
        let mut current = None;
        for line in body.lines() {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            match words.as_slice() {
                ["#", "HELP", family, help] => {
                    assert!(!help.is_empty() && helped.insert((*family).to_owned()), "helped once: {line}");
                    current = Some((*family).to_owned());
                }
                ["#", "TYPE", family, kind] => {
                    assert_eq!(current.as_deref(), Some(*family), "HELP and TYPE go together: {line}");
                    assert!(["counter", "gauge", "histogram", "info"].contains(kind), "{line}");
                    let before = metrics.families.insert((*family).to_owned(), (*kind).to_owned());
                    assert!(before.is_none(), "a family is told once: {line}");
                }
                ["#", ..] => panic!("no such line: {line}"),
                _ => {
                    let family = current.as_deref().unwrap_or_else(|| panic!("without a family: {line}"));
                    metrics.samples.push(sample(line, family, &metrics.families[family]));
                }
            }
        }
        metrics.check_series();
        metrics.check_histograms();
        metrics
    }

    /// No two samples have the same name and labels.
    fn check_series(&self) {
        let mut seen = BTreeSet::new();
        for sample in &self.samples {
            assert!(seen.insert((&sample.name, &sample.labels)), "told twice: {sample:?}");
        }
    }

    /// Buckets grow, and the last one holds what is counted.
    fn check_histograms(&self) {
        let mut series: BTreeMap<_, (Vec<f64>, Option<f64>)> = BTreeMap::new();
        let histograms = self.samples.iter().filter(|sample| self.families[&sample.family] == "histogram");
        for sample in histograms {
            let others = sample.labels.iter().filter(|(name, _)| *name != "le");
            let labels: BTreeMap<_, _> =
                others.map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let (buckets, count) = series.entry((sample.family.as_str(), labels)).or_default();
            if sample.name.ends_with("_bucket") {
                let is_last = sample.labels["le"] == "+Inf";
                assert!(is_last || sample.labels["le"].parse::<f64>().is_ok(), "{sample:?}");
                assert!(buckets.last().is_none_or(|before| *before <= sample.value), "{sample:?}");
                buckets.push(sample.value);
            } else if sample.name.ends_with("_count") {
                *count = Some(sample.value);
            }
        }
        for (name, (buckets, count)) in series {
            assert_eq!(buckets.last().copied(), count, "{name:?}");
        }
    }

    /// The samples of that name whose labels include these.
    pub fn find<'m>(&'m self, name: &'m str, labels: &'m [(&str, &str)]) -> impl Iterator<Item = &'m Sample> {
        let of_name = self.samples.iter().filter(move |sample| sample.name == name);
        of_name.filter(|sample| {
            labels.iter().all(|(name, value)| sample.labels.get(*name).is_some_and(|found| found == value))
        })
    }

    /// Their values together.
    #[allow(clippy::cast_sign_loss, reason = "nothing that is told is below 0")]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.find(name, labels).map(|sample| sample.value as u64).sum()
    }

    /// Whether any label has a value that contains `part`.
    pub fn mentions(&self, part: &str) -> bool {
        self.samples.iter().any(|sample| sample.labels.values().any(|value| value.contains(part)))
    }
}

fn sample(line: &str, family: &str, kind: &str) -> Sample {
    let broken = || -> ! { panic!("no sample of {kind} {family}: {line}") };
    let end = line.find(['{', ' ']).unwrap_or_else(|| broken());
    let (name, rest) = line.split_at(end);
    let suffixes: &[&str] = match kind {
        "counter" => &["_total"],
        "histogram" => &["_bucket", "_sum", "_count"],
        "info" => &["_info"],
        _ => &[""],
    };
    if !suffixes.iter().any(|suffix| name.strip_prefix(family) == Some(*suffix)) {
        broken();
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest).unwrap_or_else(|| broken()),
        None => (BTreeMap::new(), rest),
    };
    let value: f64 = rest.strip_prefix(' ').and_then(|value| value.parse().ok()).unwrap_or_else(|| broken());
    assert!(kind == "gauge" || value >= 0.0, "{line}");
    Sample { family: family.to_owned(), name: name.to_owned(), labels, value }
}

/// `name="value",...}`, and what follows.
fn labels(text: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    loop {
        let (name, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next()?.1 {
                    'n' => '\n',
                    escaped @ ('"' | '\\') => escaped,
                    _ => return None,
                }),
                (_, char) => value.push(char),
            }
        };
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        if name.is_empty() || !name.bytes().all(is_name) || labels.insert(name.to_owned(), value).is_some() {
            return None;
        }
        rest = &after[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return Some((labels, rest.strip_prefix('}')?)),
        }
    }
}
