//! The histograms that openraft counts its batches in, which nobody here reads. The published crate of this name
//! fills tables for sixteen precisions on first use, 25 MB of them, of which openraft looks at one: several times
//! the memory of everything else in an idle server. This one stands in for it (`[patch.crates-io]`) with a bucket
//! for each power of two and no tables.
use std::fmt;
use std::marker::PhantomData;

const BUCKETS: usize = u64::BITS as usize + 1;

/// How many values needed how many bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    counts: [u64; BUCKETS],
    kind: PhantomData<T>,
}

impl<T> Histogram<T> {
    pub fn new() -> Self {
        Self {
            counts: [0; BUCKETS],
            kind: PhantomData,
        }
    }

    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    pub fn record_n(&mut self, value: u64, times: u64) {
        self.counts[bits(value)] += times;
    }

    pub fn percentile_stats(&self) -> PercentileStats {
        let at = |part: f64| self.percentile(part);
        PercentileStats {
            samples: self.counts.iter().sum(),
            p0_1: at(0.001),
            p1: at(0.01),
            p5: at(0.05),
            p10: at(0.1),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
        }
    }

    /// The least value of the bucket in which this part of all values has been seen.
    fn percentile(&self, part: f64) -> u64 {
        let samples: u64 = self.counts.iter().sum();
        let wanted = (samples as f64 * part).ceil() as u64;
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        least(bucket.unwrap_or(0))
    }
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

fn bits(value: u64) -> usize {
    (u64::BITS - value.leading_zeros()) as usize
}

fn least(bucket: usize) -> u64 {
    if bucket == 0 { 0 } else { 1 << (bucket - 1) }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PercentileStats {
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} samples, p50 {}, p90 {}, p99 {}, p99.9 {}",
            self.samples, self.p50, self.p90, self.p99, self.p99_9
        )
    }
}

/// Several histograms, a line for each of their buckets.
#[derive(Clone, Debug, Default)]
pub struct AsciiChart(Vec<(String, Histogram)>);

impl AsciiChart {
    pub fn new() -> Self {
        Self::default()
    }

    #[allow(clippy::should_implement_trait)]
    pub fn add(mut self, name: impl Into<String>, histogram: Histogram) -> Self {
        self.0.push((name.into(), histogram));
        self
    }

    pub fn detailed(&self) -> &Self {
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, histogram) in &self.0 {
            writeln!(f, "{name}")?;
            for (bucket, count) in histogram.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                writeln!(f, "{:>20} {count}", least(bucket))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_least_value_of_their_power_of_two() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile_stats().p99, 0);
        for value in [0, 1, 5, 6, 7, 900] {
            histogram.record(value);
        }
        histogram.record(u64::MAX);
        let stats = histogram.percentile_stats();
        assert_eq!((stats.samples, stats.p10, stats.p50, stats.p99_9), (7, 0, 4, 1 << 63));
    }
}
