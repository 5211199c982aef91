//! DNS messages as far as SRV records need them. What comes in is not trusted: every read is checked.

const SRV: u16 = 33;
const IN: u16 = 1;
const HEADER: usize = 12;
const MAX_NAME: usize = 255;
const MAX_LABEL: usize = 63;
/// Pointers that a name may follow: more would be a loop, or an attempt to keep us busy.
const MAX_JUMPS: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    /// Without the final dot.
    pub target: String,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Records(Vec<Record>),
    NoSuchName,
    /// The rest is to be had over TCP.
    Truncated,
    /// The server's code for why it does not answer.
    Failed(u8),
}

/// A question for a name's SRV records.
pub fn query(id: u16, name: &str) -> Result<Vec<u8>, String> {
    let mut out = id.to_be_bytes().to_vec();
    // Recursion desired; one question.
    out.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        if label.is_empty() || label.len() > MAX_LABEL || out.len() - HEADER + label.len() + 2 > MAX_NAME {
            return Err(format!("{name:?} is no DNS name"));
        }
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out.extend_from_slice(&SRV.to_be_bytes());
    out.extend_from_slice(&IN.to_be_bytes());
    Ok(out)
}

/// Is this an answer, and to our question?
pub fn answers(message: &[u8], query: &[u8], id: u16) -> bool {
    let same_question = || {
        message
            .get(HEADER..query.len())
            .is_some_and(|question| question.eq_ignore_ascii_case(&query[HEADER..]))
    };
    message.len() >= HEADER && message[..2] == id.to_be_bytes() && message[2] & 0x80 != 0 && same_question()
}

/// Reads the SRV records of an answer's first section.
pub fn parse(message: &[u8]) -> Result<Answer, String> {
    read(message).ok_or_else(|| "its answer is malformed".to_string())
}

fn read(message: &[u8]) -> Option<Answer> {
    let mut reader = Reader { message, at: 2 };
    let flags = reader.u16()?;
    let (questions, records) = (reader.u16()?, reader.u16()?);
    if flags & 0x0200 != 0 {
        return Some(Answer::Truncated);
    }
    match (flags & 0xf) as u8 {
        0 => {}
        3 => return Some(Answer::NoSuchName),
        code => return Some(Answer::Failed(code)),
    }
    reader.at = HEADER;
    for _ in 0..questions {
        reader.name()?;
        reader.skip(4)?;
    }
    let mut found = Vec::new();
    for _ in 0..records {
        reader.name()?;
        let (kind, class) = (reader.u16()?, reader.u16()?);
        reader.skip(4)?;
        let len = usize::from(reader.u16()?);
        let end = reader.at.checked_add(len).filter(|end| *end <= message.len())?;
        if (kind, class) == (SRV, IN) {
            found.push(Record {
                priority: reader.u16()?,
                weight: reader.u16()?,
                port: reader.u16()?,
                target: reader.name()?,
            });
            if reader.at > end {
                return None;
            }
        }
        reader.at = end;
    }
    Some(Answer::Records(found))
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn skip(&mut self, len: usize) -> Option<()> {
        self.at = self.at.checked_add(len).filter(|at| *at <= self.message.len())?;
        Some(())
    }

    fn u16(&mut self) -> Option<u16> {
        let bytes = self.message.get(self.at..self.at + 2)?;
        self.at += 2;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// A name with dots between its labels; pointers lead to names further ahead in the message.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let mut at = self.at;
        let mut after = None;
        for _ in 0..MAX_JUMPS + MAX_NAME {
            let len = *self.message.get(at)?;
            match len {
                0 => {
                    self.at = after.unwrap_or(at + 1);
                    return Some(name);
                }
                1..=63 => {
                    let label = self.message.get(at + 1..at + 1 + usize::from(len))?;
                    if name.len() + label.len() + 1 > MAX_NAME || !label.iter().all(u8::is_ascii_graphic) {
                        return None;
                    }
                    if !name.is_empty() {
                        name.push('.');
                    }
                    name.extend(label.iter().map(|byte| *byte as char));
                    at += 1 + usize::from(len);
                }
                0xc0.. => {
                    let low = *self.message.get(at + 1)?;
                    after.get_or_insert(at + 2);
                    let target = usize::from(len & 0x3f) << 8 | usize::from(low);
                    // Backwards only: a loop then ends by itself.
                    if target >= at {
                        return None;
                    }
                    at = target;
                }
                _ => return None,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer to `_x._tcp.a` with one record whose data is `data`.
    fn answer(data: &[u8]) -> Vec<u8> {
        let mut out = query(7, "_x._tcp.a").unwrap();
        out[2] |= 0x80;
        out[7] = 1;
        out.extend_from_slice(&[0xc0, HEADER as u8, 0, SRV as u8, 0, IN as u8, 0, 0, 0, 60]);
        out.extend_from_slice(&(data.len() as u16).to_be_bytes());
        out.extend_from_slice(data);
        out
    }

    #[test]
    fn a_record_is_read_and_its_name_may_point_back() {
        // "b" and a pointer to "a" in the question.
        let message = answer(&[0, 1, 0, 2, 9, 0x4c, 1, b'b', 0xc0, 20]);
        let want = Record {
            priority: 1,
            weight: 2,
            port: 2380,
            target: "b.a".into(),
        };
        assert_eq!(parse(&message), Ok(Answer::Records(vec![want])));
    }

    #[test]
    fn malformed_answers_are_refused() {
        let cases: &[(&str, Vec<u8>)] = &[
            ("nothing", Vec::new()),
            ("half a header", vec![0; 5]),
            ("no records although one is announced", {
                let mut message = query(7, "_x._tcp.a").unwrap();
                message[7] = 1;
                message
            }),
            ("a pointer to itself", answer(&[0, 1, 0, 2, 9, 0x4c, 0xc0, 45])),
            ("a pointer ahead", answer(&[0, 1, 0, 2, 9, 0x4c, 0xff, 0xff])),
            ("half a pointer", answer(&[0, 1, 0, 2, 9, 0x4c, 0xc0])),
            ("a label beyond the end", answer(&[0, 1, 0, 2, 9, 0x4c, 9, b'b'])),
            ("a label of no known kind", answer(&[0, 1, 0, 2, 9, 0x4c, 0x80, 0])),
            ("a blank in a name", answer(&[0, 1, 0, 2, 9, 0x4c, 1, b' ', 0])),
            ("too little data", answer(&[0, 1])),
        ];
        for (what, message) in cases {
            assert!(parse(message).is_err(), "{what}");
        }
        let mut long = answer(&[0; 8]);
        let at = long.len() - 10;
        long[at..at + 2].copy_from_slice(&[0xff, 0xff]);
        assert!(parse(&long).is_err(), "a length beyond the end");
    }

    #[test]
    fn codes_and_truncation_are_told_apart() {
        let with = |flags: [u8; 2]| {
            let mut message = answer(&[]);
            message[2..4].copy_from_slice(&flags);
            parse(&message)
        };
        assert_eq!(with([0x81, 3]), Ok(Answer::NoSuchName));
        assert_eq!(with([0x81, 2]), Ok(Answer::Failed(2)));
        assert_eq!(with([0x83, 0]), Ok(Answer::Truncated));
    }

    #[test]
    fn only_the_answer_to_our_question_counts() {
        let question = query(7, "_x._tcp.a").unwrap();
        let message = answer(&[]);
        assert!(answers(&message, &question, 7));
        assert!(!answers(&message, &question, 8));
        assert!(!answers(&question, &question, 7), "a question is no answer");
        assert!(!answers(&message, &query(7, "_y._tcp.a").unwrap(), 7));
        assert!(!answers(&message[..9], &question, 7));
    }

    #[test]
    fn what_is_no_name_is_not_asked_for() {
        let long = "a".repeat(64);
        let deep = vec!["abcdefg"; 40].join(".");
        for name in ["", "a..b", long.as_str(), deep.as_str()] {
            assert!(query(1, name).is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), data in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse(&bytes);
            let _ = parse(&answer(&data));
            let _ = answers(&bytes, &query(1, "a.b").unwrap(), 1);
        }
    }
}
