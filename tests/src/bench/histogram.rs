//! Latencies in logarithmic buckets: constant memory, percentiles to within 1 %.

use std::time::Duration;

/// 128 buckets to each power of two: a bucket is at most 1/128 of its value wide.
const SUB_BITS: u32 = 7;
const SUB: u64 = 1 << SUB_BITS;

pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    pub fn new() -> Self {
        Self {
            counts: vec![0; bucket(u64::MAX) + 1],
            total: 0,
            max: 0,
        }
    }

    pub fn record(&mut self, latency: Duration) {
        let nanos = latency.as_nanos() as u64;
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
        self.max = self.max.max(nanos);
    }

    pub fn max_ms(&self) -> f64 {
        self.max as f64 / 1e6
    }

    /// The latency in ms that the share `quantile` (0..=1) of the requests did not exceed.
    pub fn ms(&self, quantile: f64) -> f64 {
        let rank = ((self.total as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return middle(index).min(self.max) as f64 / 1e6;
            }
        }
        0.0
    }
}

fn bucket(value: u64) -> usize {
    let shift = (63 - value.max(SUB).leading_zeros()) - SUB_BITS;
    (u64::from(shift) * SUB + (value >> shift)) as usize
}

fn middle(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 * SUB {
        return index;
    }
    let shift = index / SUB - 1;
    ((index - shift * SUB) << shift) + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_stands_for_its_values_within_one_percent() {
        for value in (0..63).flat_map(|power| [1u64 << power, (1 << power) + (1 << power) / 3]) {
            let error = middle(bucket(value)).abs_diff(value) as f64;
            assert!(error <= value as f64 / 100.0, "{value}: {error}");
        }
    }

    #[test]
    fn percentiles_come_by_rank() {
        let mut histogram = Histogram::new();
        (1..=1000).for_each(|us| histogram.record(Duration::from_micros(us)));
        assert!((histogram.ms(0.5) - 0.5).abs() < 0.005);
        assert!((histogram.ms(0.99) - 0.99).abs() < 0.01);
        assert_eq!(histogram.max_ms(), 1.0);
    }
}
