//! What frames meet on their way: cuts, losses, delays and narrow places, each for one direction between two ends.
//!
//! Chance is seeded per direction, so that what happens on one link does not depend on the traffic of another.
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{HEADER, Mac};

/// A narrow link keeps so much that has not gone yet, or what takes it `PATIENCE`, whichever is more; the rest is lost.
const BACKLOG: u64 = 64 * 1024;
const PATIENCE: Duration = Duration::from_millis(200);

/// One direction between two ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Link {
    pub cut: bool,
    pub delay: Duration,
    /// Up to so much more.
    pub jitter: Duration,
    /// Of frames, how many are lost: 0 to 1.
    pub loss: f64,
    /// Bytes in a second.
    pub rate: Option<u64>,
}

impl Link {
    /// Two faults on the same direction.
    pub fn add(&mut self, other: &Link) {
        self.cut |= other.cut;
        self.delay += other.delay;
        self.jitter += other.jitter;
        self.loss = 1.0 - (1.0 - self.loss) * (1.0 - other.loss);
        self.rate = match (self.rate, other.rate) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
    }

    /// Would it matter that 64 KB go as one frame?
    pub fn counts_frames(&self) -> bool {
        self.loss > 0.0 || self.rate.is_some()
    }
}

/// From one end, to the other.
pub type Links = BTreeMap<(Mac, Mac), Link>;

/// All links, with the frames that are under way.
#[derive(Debug, Default)]
pub struct Flight {
    links: BTreeMap<(Mac, Mac), State>,
    late: BinaryHeap<Reverse<Late>>,
    sent: u64,
}

#[derive(Debug)]
struct State {
    link: Link,
    chance: SmallRng,
    /// When the narrow place has let everything through.
    free: Instant,
    /// When the last frame arrives: none overtakes another.
    last: Instant,
}

/// A frame that arrives later, at the end with this address.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Late {
    at: Instant,
    order: u64,
    to: Mac,
    frame: Vec<u8>,
}

impl Flight {
    /// From now on these. A link that stays as it is goes on with its chance; what is under way arrives.
    pub fn set(&mut self, links: Links, seed: u64, now: Instant) {
        let mut before = std::mem::take(&mut self.links);
        for ((from, to), link) in links {
            let known = before.remove(&(from, to)).filter(|state| state.link == link);
            let new = || State {
                link,
                chance: SmallRng::seed_from_u64(seed_of(seed, from, to)),
                free: now,
                last: now,
            };
            self.links.insert((from, to), known.unwrap_or_else(new));
        }
    }

    pub fn counts_frames(&self, from: Mac) -> bool {
        let of = |((one, _), state): (&(Mac, Mac), &State)| *one == from && state.link.counts_frames();
        self.links.iter().any(of)
    }

    /// Does it arrive at once? If not, it is lost, or kept until it is due.
    pub fn passes(&mut self, from: Mac, to: Mac, frame: &[u8], now: Instant) -> bool {
        let Some(state) = self.links.get_mut(&(from, to)) else {
            return true;
        };
        let link = &state.link;
        // Chance is asked for every frame, also where a cut makes it idle: what follows a cut does not depend on it.
        let lost = link.loss > 0.0 && state.chance.random_bool(link.loss);
        if link.cut || lost {
            return false;
        }
        let mut at = now;
        if let Some(rate) = link.rate.map(|rate| rate.max(1)) {
            let start = state.free.max(now);
            let waiting = (start - now).as_secs_f64() * rate as f64;
            let room = (PATIENCE.as_secs_f64() * rate as f64).max(BACKLOG as f64);
            if waiting > room {
                return false;
            }
            let bytes = frame.len().saturating_sub(HEADER);
            state.free = start + Duration::from_secs_f64(bytes as f64 / rate as f64);
            at = state.free;
        }
        at += link.delay;
        if !link.jitter.is_zero() {
            at += link.jitter.mul_f64(state.chance.random());
        }
        at = at.max(state.last);
        state.last = at;
        if at <= now {
            return true;
        }
        self.sent += 1;
        self.late.push(Reverse(Late {
            at,
            order: self.sent,
            to,
            frame: frame.to_vec(),
        }));
        false
    }

    /// When the next frame arrives.
    pub fn next(&self) -> Option<Instant> {
        self.late.peek().map(|Reverse(late)| late.at)
    }

    /// A frame that is due, and whose.
    pub fn due(&mut self, now: Instant) -> Option<(Mac, Vec<u8>)> {
        if self.next()? > now {
            return None;
        }
        self.late.pop().map(|Reverse(late)| (late.to, late.frame))
    }

    pub fn is_clear(&self) -> bool {
        self.links.is_empty()
    }
}

fn seed_of(seed: u64, from: Mac, to: Mac) -> u64 {
    let of = |mac: Mac| mac.iter().fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
    seed ^ of(from).rotate_left(16) ^ of(to).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Mac = [2, 0, 0, 0, 0, 1];
    const B: Mac = [2, 0, 0, 0, 0, 2];

    fn flight(link: Link, seed: u64) -> (Flight, Instant) {
        let (mut flight, now) = (Flight::default(), Instant::now());
        flight.set(Links::from([((A, B), link)]), seed, now);
        (flight, now)
    }

    fn frame(length: usize) -> Vec<u8> {
        vec![0; HEADER + length]
    }

    #[test]
    fn a_cut_is_of_one_direction() {
        let cut = Link {
            cut: true,
            ..Link::default()
        };
        let (mut flight, now) = flight(cut, 1);
        assert!(!flight.passes(A, B, &frame(60), now));
        assert!(flight.passes(B, A, &frame(60), now));
        assert_eq!(flight.next(), None);
    }

    #[test]
    fn what_is_late_arrives_in_order_and_not_before_its_time() {
        let late = Link {
            delay: Duration::from_millis(100),
            jitter: Duration::from_millis(50),
            ..Link::default()
        };
        let (mut flight, now) = flight(late, 7);
        for number in 0..20u8 {
            let at = now + Duration::from_millis(u64::from(number));
            assert!(!flight.passes(A, B, &[number; 80], at));
        }
        assert_eq!(flight.due(now + Duration::from_millis(99)), None);
        let mut came = Vec::new();
        while let Some((to, frame)) = flight.due(now + Duration::from_millis(200)) {
            assert_eq!(to, B);
            came.push(frame[0]);
        }
        assert_eq!(came, (0..20).collect::<Vec<u8>>());
    }

    #[test]
    fn the_same_seed_loses_the_same_frames() {
        let lossy = Link {
            loss: 0.3,
            ..Link::default()
        };
        let run = |seed| {
            let (mut flight, now) = flight(lossy.clone(), seed);
            (0..1000)
                .map(|_| flight.passes(A, B, &frame(60), now))
                .collect::<Vec<bool>>()
        };
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
        let lost = run(3).iter().filter(|passed| !**passed).count();
        assert!((200..400).contains(&lost), "{lost}");
    }

    #[test]
    fn a_narrow_link_lets_through_what_it_can_and_loses_what_it_cannot_keep() {
        let narrow = Link {
            rate: Some(100_000),
            ..Link::default()
        };
        let (mut flight, now) = flight(narrow, 1);
        for _ in 0..200 {
            flight.passes(A, B, &frame(1000), now);
        }
        // 100 kB a second, 1 kB each: 10 ms apart.
        assert_eq!(flight.next(), Some(now + Duration::from_millis(10)));
        let mut came = 0;
        while flight.due(now + Duration::from_secs(1)).is_some() {
            came += 1;
        }
        assert!((60..=70).contains(&came), "{came}");
    }

    #[test]
    fn two_faults_add_up() {
        let mut link = Link {
            delay: Duration::from_millis(10),
            loss: 0.5,
            rate: Some(10),
            ..Link::default()
        };
        link.add(&Link {
            delay: Duration::from_millis(5),
            loss: 0.5,
            rate: Some(5),
            ..Link::default()
        });
        assert_eq!(
            (link.delay, link.loss, link.rate),
            (Duration::from_millis(15), 0.75, Some(5))
        );
    }
}
