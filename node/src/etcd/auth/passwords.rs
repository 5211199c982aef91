//! Passwords: hashed with bcrypt beside the server's thread, and a memory of which were right.
//!
//! bcrypt is slow on purpose, at every request. So what it found right once is remembered under a MAC over user,
//! password and stored hash, with a key that exists only in this process: the memory holds nothing that can be
//! attacked offline, and another stored hash makes another MAC, so a changed password is never taken from it.
use std::collections::HashMap;
use std::sync::Mutex;

use bcrypt::Version;
use rand::RngCore;
use sha1::{Digest, Sha1};
use tokio::sync::Semaphore;

/// Go's bcrypt.DefaultCost.
const COST: u32 = 10;
/// Users whose password is remembered. Beyond them some are forgotten, which costs time and nothing else.
const MAX_REMEMBERED: usize = 4096;
/// SHA-1's block.
const BLOCK: usize = 64;

type Mac = [u8; 20];

pub struct Passwords {
    /// SHA-1 after the inner and after the outer key block of HMAC.
    inner: Sha1,
    outer: Sha1,
    /// The last password of each user that was right.
    right: Mutex<HashMap<String, Mac>>,
    /// One hash at a time: whoever guesses passwords gets no more than one core.
    turn: Semaphore,
}

impl Default for Passwords {
    fn default() -> Passwords {
        let mut key = [0; BLOCK];
        rand::rng().fill_bytes(&mut key);
        let keyed = |pad: u8| Sha1::new_with_prefix(key.map(|byte| byte ^ pad));
        Passwords {
            inner: keyed(0x36),
            outer: keyed(0x5c),
            right: Mutex::default(),
            turn: Semaphore::new(1),
        }
    }
}

impl Passwords {
    /// Is this the password behind a stored hash?
    pub async fn check(&self, user: &str, password: &str, stored: &str) -> bool {
        let mac = self.mac(user, password, stored);
        if self.remembers(user, &mac) {
            return true;
        }
        let Ok(_turn) = self.turn.acquire().await else {
            return false;
        };
        // Many requests of one user may have come at once: the first has done the work.
        if self.remembers(user, &mac) {
            return true;
        }
        let (secret, hash) = (password.to_string(), stored.to_string());
        let right = tokio::task::spawn_blocking(move || bcrypt::verify(secret, &hash).unwrap_or(false))
            .await
            .unwrap_or(false);
        if right {
            self.remember(user, mac);
        }
        right
    }

    /// A hash to store, in the form that Go's bcrypt writes.
    pub async fn hash(&self, password: &str) -> Option<String> {
        let _turn = self.turn.acquire().await.ok()?;
        let secret = password.to_string();
        tokio::task::spawn_blocking(move || bcrypt::hash_with_result(secret, COST))
            .await
            .ok()?
            .ok()
            .map(|parts| parts.format_for_version(Version::TwoA))
    }

    fn remembers(&self, user: &str, mac: &Mac) -> bool {
        let right = self.right.lock().unwrap();
        right.get(user).is_some_and(|known| equal(known, mac))
    }

    fn remember(&self, user: &str, mac: Mac) {
        let mut right = self.right.lock().unwrap();
        if right.len() >= MAX_REMEMBERED
            && !right.contains_key(user)
            && let Some(other) = right.keys().next().cloned()
        {
            right.remove(&other);
        }
        right.insert(user.to_string(), mac);
    }

    /// HMAC-SHA1. Each part goes in with its length, so that no two triples read the same.
    fn mac(&self, user: &str, password: &str, stored: &str) -> Mac {
        let mut inner = self.inner.clone();
        for part in [user, password, stored] {
            inner.update((part.len() as u64).to_be_bytes());
            inner.update(part);
        }
        let mut outer = self.outer.clone();
        outer.update(inner.finalize());
        outer.finalize().into()
    }
}

/// In the same time wherever they differ.
fn equal(a: &Mac, b: &Mac) -> bool {
    a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    #[test]
    fn a_right_password_is_remembered_until_the_stored_hash_changes() {
        runtime().block_on(async {
            let passwords = Passwords::default();
            let first = passwords.hash("secret").await.unwrap();
            assert!(first.starts_with("$2a$10$"));
            assert!(!passwords.check("bob", "wrong", &first).await);
            assert!(passwords.right.lock().unwrap().is_empty());
            assert!(passwords.check("bob", "secret", &first).await);
            assert!(passwords.remembers("bob", &passwords.mac("bob", "secret", &first)));

            let second = passwords.hash("other").await.unwrap();
            assert!(!passwords.check("bob", "secret", &second).await);
            assert!(passwords.check("bob", "other", &second).await);
            assert!(!passwords.check("bob", "wrong", &second).await);
            assert!(!passwords.check("bob", "secret", "no hash").await);
            assert_eq!(passwords.right.lock().unwrap().len(), 1);
        });
    }

    #[test]
    fn the_memory_is_bounded() {
        let passwords = Passwords::default();
        for number in 0..2 * MAX_REMEMBERED {
            passwords.remember(&number.to_string(), [0; 20]);
        }
        assert_eq!(passwords.right.lock().unwrap().len(), MAX_REMEMBERED);
    }

    #[test]
    fn the_parts_of_a_mac_are_kept_apart_and_its_key_is_the_process_own() {
        let passwords = Passwords::default();
        assert_ne!(passwords.mac("ab", "c", "h"), passwords.mac("a", "bc", "h"));
        assert_ne!(passwords.mac("a", "b", "h"), Passwords::default().mac("a", "b", "h"));
    }
}
