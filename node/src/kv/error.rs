//! etcd's errors: code, message, HTTP status, and the JSON in the body.
use bytes::Bytes;

use super::{KEYS, json};

/// One line per error: name, number, message. The names are those of etcd's error package without `Ecode`.
macro_rules! codes {
    ($($name:ident $number:literal $message:literal;)*) => {
        /// The error codes of etcd 2.3, those included that it never sends.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub enum Code { $($name = $number,)* }

        impl Code {
            pub fn message(self) -> &'static str {
                match self { $(Code::$name => $message,)* }
            }
        }
    };
}

codes! {
    KeyNotFound 100 "Key not found";
    TestFailed 101 "Compare failed";
    NotFile 102 "Not a file";
    NoMorePeer 103 "Reached the max number of peers in the cluster";
    NotDir 104 "Not a directory";
    NodeExist 105 "Key already exists";
    KeyIsPreserved 106 "The prefix of given key is a keyword in etcd";
    RootROnly 107 "Root is read only";
    DirNotEmpty 108 "Directory not empty";
    ExistingPeerAddr 109 "Peer address has existed";
    Unauthorized 110 "The request requires user authentication";

    ValueRequired 200 "Value is Required in POST form";
    PrevValueRequired 201 "PrevValue is Required in POST form";
    TTLNaN 202 "The given TTL in POST form is not a number";
    IndexNaN 203 "The given index in POST form is not a number";
    ValueOrTTLRequired 204 "Value or TTL is required in POST form";
    TimeoutNaN 205 "The given timeout in POST form is not a number";
    NameRequired 206 "Name is required in POST form";
    IndexOrValueRequired 207 "Index or value is required";
    IndexValueMutex 208 "Index and value cannot both be specified";
    InvalidField 209 "Invalid field";
    InvalidForm 210 "Invalid POST form";
    RefreshValue 211 "Value provided on refresh";
    RefreshTTLRequired 212 "A TTL must be provided on refresh";

    RaftInternal 300 "Raft Internal Error";
    LeaderElect 301 "During Leader Election";

    WatcherCleared 400 "watcher is cleared due to etcd recovery";
    EventIndexCleared 401 "The event in requested index is outdated and cleared";
    StandbyInternal 402 "Standby Internal Error";
    InvalidActiveSize 403 "Invalid active size";
    InvalidRemoveDelay 404 "Standby remove delay";

    ClientInternal 500 "Client Internal Error";
}

impl Code {
    pub fn number(self) -> u16 {
        self as u16
    }

    /// The HTTP status that goes with the code.
    pub fn status(self) -> u16 {
        match self {
            Code::KeyNotFound => 404,
            Code::TestFailed | Code::NodeExist => 412,
            Code::NotFile | Code::DirNotEmpty => 403,
            Code::Unauthorized => 401,
            Code::RaftInternal | Code::LeaderElect => 500,
            _ => 400,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub code: Code,
    /// What exactly is wrong: most often the path in the way. May be empty.
    pub cause: Bytes,
    /// The store's index when it happened.
    pub index: u64,
}

impl Error {
    pub fn new(code: Code, cause: impl Into<Bytes>, index: u64) -> Self {
        Self {
            code,
            cause: cause.into(),
            index,
        }
    }

    /// The body etcd answers with. The first `strip` bytes of `/1` are cut from a cause that begins with them.
    pub fn json(&self, strip: usize) -> Bytes {
        let prefix = &KEYS[..strip.min(KEYS.len())];
        let cause = self.cause.strip_prefix(prefix).unwrap_or(&self.cause);
        let mut out = Vec::with_capacity(96 + cause.len());
        let mut object = json::Object::open(&mut out);
        json::number(object.field("errorCode"), self.code.number());
        json::string(object.field("message"), self.code.message().as_bytes());
        if !cause.is_empty() {
            json::string(object.field("cause"), cause);
        }
        json::number(object.field("index"), self.index);
        object.close();
        out.push(b'\n');
        out.into()
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cause = String::from_utf8_lossy(&self.cause);
        write!(
            f,
            "{}: {} ({cause}) [{}]",
            self.code.number(),
            self.code.message(),
            self.index
        )
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(code: Code, cause: &'static str) -> String {
        String::from_utf8(Error::new(code, cause, 7).json(2).to_vec()).unwrap()
    }

    #[test]
    fn a_body_shows_the_users_path() {
        assert_eq!(
            json(Code::KeyNotFound, "/1/a"),
            "{\"errorCode\":100,\"message\":\"Key not found\",\"cause\":\"/a\",\"index\":7}\n"
        );
    }

    #[test]
    fn an_empty_cause_is_left_out() {
        assert_eq!(
            json(Code::NotFile, "/1"),
            "{\"errorCode\":102,\"message\":\"Not a file\",\"index\":7}\n"
        );
    }

    #[test]
    fn a_cause_that_is_no_user_path_stays_whole() {
        assert!(json(Code::RootROnly, "/").contains("\"cause\":\"/\""));
        assert!(json(Code::TestFailed, "[2 != 1] [9 != 3]").contains("\"cause\":\"[2 != 1] [9 != 3]\""));
    }
}
