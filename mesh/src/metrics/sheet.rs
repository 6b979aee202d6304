//! What a source writes its numbers on.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::histogram::Histogram;

/// A part of the process that has numbers to tell.
pub trait Source: Send + Sync + 'static {
    /// Tells them all. May read from disk; the page sees to it that one reading runs at a time.
    ///
    /// # Errors
    /// What the sheet fails with.
    fn tell(&self, sheet: &mut Sheet<'_>) -> fmt::Result;
}

/// Labels of one series: names and values.
type Labels<'l, const N: usize> = [(&'l str, &'l str); N];

/// See the module. Each family is written once, by its whole name but for the `_total` of a counter, which is added.
pub struct Sheet<'a>(pub(super) DescriptorEncoder<'a>);

impl Sheet<'_> {
    /// A counter.
    ///
    /// # Errors
    /// The page cannot be written.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.counters(name, help, [([], value)])
    }

    /// Counters, by their labels.
    ///
    /// # Errors
    /// The page cannot be written.
    pub fn counters<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'l, N>, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in series {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    /// A gauge.
    ///
    /// # Errors
    /// The page cannot be written.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        self.gauges(name, help, [([], value)])
    }

    /// Gauges, by their labels.
    ///
    /// # Errors
    /// The page cannot be written.
    pub fn gauges<'l, const N: usize, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'l, N>, V)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in series {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// A histogram.
    ///
    /// # Errors
    /// The page cannot be written.
    pub fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) -> fmt::Result {
        self.histograms(name, help, [([], histogram)])
    }

    /// Histograms, by their labels.
    ///
    /// # Errors
    /// The page cannot be written.
    pub fn histograms<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'l, N>, &'l Histogram)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, histogram) in series {
            let seen = histogram.seen();
            let mut series = family.encode_family(&labels)?;
            series.encode_histogram::<NoLabelSet>(seen.sum, seen.count, &seen.buckets, None)?;
        }
        Ok(())
    }
}
