//! Reading the log back: what a crash tore is cut off, what was damaged later is refused.
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::format::{self, FRAME_HEADER, FrameHeader, Head, Record};
use super::index::{Index, Location};
use super::writer::Segment;
use crate::raft::disk::{Disk, File};
use crate::raft::types::LogId;

/// The smallest piece that a disk writes as a whole.
const SECTOR: usize = 512;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error(
        "read wal error (wal: {} is damaged at byte {offset}: {what}) and cannot be repaired: acknowledged writes would be lost. \
         Restore this member from a backup, or remove its data directory and let it join the cluster again", file.display()
    )]
    Damaged { file: PathBuf, offset: u64, what: String },
}

pub struct Recovered {
    pub head: Head,
    pub index: Index,
    pub last: Segment,
}

/// Reads the segments that are needed on top of a snapshot at `snapshot`. None: there is no log yet.
/// `salvage`: damage in the last one ends the log there.
pub fn recover(
    disk: &dyn Disk,
    dir: &Path,
    snapshot: Option<LogId>,
    salvage: bool,
) -> Result<Option<Recovered>, OpenError> {
    let mut segments: Vec<(u64, u64, String)> = disk
        .list(dir)?
        .into_iter()
        .filter_map(|name| format::parse_segment_name(&name).map(|(number, first)| (number, first, name)))
        .collect();
    drop_unfinished_segment(disk, dir, &mut segments)?;
    let covered = snapshot.map_or(0, |id| id.index + 1);
    // Everything before the newest segment that begins inside the snapshot is history.
    let start = segments
        .iter()
        .rposition(|(_, first, _)| *first <= covered)
        .unwrap_or(0);
    let segments = &segments[start.min(segments.len())..];

    let mut recovered: Option<Recovered> = None;
    for (position, (number, _, name)) in segments.iter().enumerate() {
        let path = dir.join(name);
        if position > 0 && segments[position - 1].0 + 1 != *number {
            let what = format!("segment {:016x} is missing before it", number - 1);
            return Err(OpenError::Damaged {
                file: path,
                offset: 0,
                what,
            });
        }
        let reader = Reader {
            path: &path,
            file: disk.open(&path)?,
            number: *number,
            last: position + 1 == segments.len(),
            salvage,
        };
        reader.read(&mut recovered)?;
    }
    if let Some(recovered) = &mut recovered {
        recovered.index.evict();
    }
    Ok(recovered)
}

/// A crash while a segment was being made leaves one without a head; nothing was ever written to it.
fn drop_unfinished_segment(
    disk: &dyn Disk,
    dir: &Path,
    segments: &mut Vec<(u64, u64, String)>,
) -> Result<(), OpenError> {
    let Some((_, _, name)) = segments.last() else {
        return Ok(());
    };
    let path = dir.join(name);
    let file = disk.open(&path)?;
    let mut start = vec![0; (SECTOR as u64).min(file.size()?) as usize];
    file.read_at(&mut start, 0)?;
    if start.iter().all(|byte| *byte == 0) {
        drop(file);
        crate::log::warning!("wal", "removed the unfinished segment {}", path.display());
        disk.remove(&path)?;
        segments.pop();
    }
    Ok(())
}

struct Reader<'a> {
    path: &'a Path,
    file: std::sync::Arc<dyn File>,
    number: u64,
    last: bool,
    salvage: bool,
}

impl Reader<'_> {
    fn read(self, recovered: &mut Option<Recovered>) -> Result<(), OpenError> {
        let size = self.file.size()?;
        let (mut offset, mut frames) = (0u64, 0u32);
        loop {
            let frame = match self.frame(offset, size, frames) {
                Err(OpenError::Damaged { what, .. }) if self.salvage && self.last => Frame::Torn(what),
                frame => frame?,
            };
            let payload = match frame {
                Frame::Good(payload) => payload,
                Frame::End => break,
                Frame::Torn(what) if self.last && frames > 0 => {
                    crate::log::warning!(
                        "wal",
                        "cut the torn end of {} at byte {offset}: {what}",
                        self.path.display()
                    );
                    // Zeros from here on, so that the next frame meets the space it expects.
                    self.file.set_len(offset)?;
                    self.file.allocate(size.max(offset + 1))?;
                    self.file.sync()?;
                    break;
                }
                Frame::Torn(what) => return Err(self.damaged(offset, what)),
            };
            let len = payload.len();
            let records = format::parse_records(&payload)
                .ok_or_else(|| self.damaged(offset, "it holds a record of an unknown kind".into()))?;
            for record in records {
                self.apply(record, &payload, offset, frames, recovered)?;
            }
            offset += (FRAME_HEADER + len).next_multiple_of(FRAME_HEADER) as u64;
            frames += 1;
        }
        let Some(recovered) = recovered else {
            return Err(self.damaged(0, "it has no head".into()));
        };
        recovered.index.segments.insert(self.number, self.file.clone());
        recovered.last = Segment {
            number: self.number,
            file: self.file,
            offset,
            frames,
        };
        Ok(())
    }

    fn frame(&self, offset: u64, size: u64, number: u32) -> Result<Frame, OpenError> {
        if offset >= size {
            return Ok(Frame::End);
        }
        if offset + FRAME_HEADER as u64 > size {
            return Ok(Frame::Torn("the file ends within a record".into()));
        }
        let mut header = [0; FRAME_HEADER];
        self.file.read_at(&mut header, offset)?;
        if header == [0; FRAME_HEADER] {
            // Either the end of the log or a torn frame whose first sector did not make it: both end here, unless
            // something good was written later.
            return match self.good_frame_after(offset, size, number)? {
                Some(at) => Err(self.damaged(offset, format!("zeros, but a good record follows at byte {at}"))),
                None => Ok(Frame::End),
            };
        }
        // A header lies within one sector, so it is written as a whole: a bad one was changed later.
        let Some(header) = FrameHeader::parse(&header) else {
            return Err(self.damaged(offset, "the header of a record does not match its checksum".into()));
        };
        if header.number != number {
            return Err(self.damaged(offset, format!("record {} where {number} is expected", header.number)));
        }
        let start = offset + FRAME_HEADER as u64;
        if start + header.len as u64 > size {
            return Ok(Frame::Torn("the file ends within a record".into()));
        }
        let mut payload = vec![0; header.len];
        self.file.read_at(&mut payload, start)?;
        if crc32fast::hash(&payload) != header.crc {
            let what = "a record does not match its checksum".to_string();
            return match has_missing_sector(&payload, start) && self.good_frame_after(offset, size, number)?.is_none() {
                true => Ok(Frame::Torn(what)),
                false => Err(self.damaged(offset, what)),
            };
        }
        Ok(Frame::Good(Bytes::from(payload)))
    }

    /// A frame is written only when the one before it is safe, so a good one further on tells damage from a crash.
    fn good_frame_after(&self, offset: u64, size: u64, number: u32) -> Result<Option<u64>, OpenError> {
        const CHUNK: usize = 1 << 20;
        let mut at = offset + FRAME_HEADER as u64;
        let mut chunk = vec![0; CHUNK];
        while at + FRAME_HEADER as u64 <= size {
            let len = CHUNK.min((size - at) as usize) & !(FRAME_HEADER - 1);
            self.file.read_at(&mut chunk[..len], at)?;
            for (position, header) in chunk[..len].chunks_exact(FRAME_HEADER).enumerate() {
                let header: &[u8; FRAME_HEADER] = header.try_into().expect("chunks of that size");
                if *header == [0; FRAME_HEADER] {
                    continue;
                }
                if FrameHeader::parse(header).is_some_and(|header| header.number > number) {
                    return Ok(Some(at + (position * FRAME_HEADER) as u64));
                }
            }
            at += len as u64;
        }
        Ok(None)
    }

    fn apply(
        &self,
        record: Record,
        payload: &Bytes,
        offset: u64,
        frame: u32,
        recovered: &mut Option<Recovered>,
    ) -> Result<(), OpenError> {
        if let Record::Head(head) = record {
            return match recovered {
                _ if frame != 0 => Err(self.damaged(offset, "a head within the segment".into())),
                Some(before) if before.head.meta != head.meta => {
                    Err(self.damaged(offset, "it belongs to another member".into()))
                }
                Some(_) => Ok(()),
                None => {
                    let index = Index::new(&head);
                    let last = Segment {
                        number: self.number,
                        file: self.file.clone(),
                        offset: 0,
                        frames: 0,
                    };
                    *recovered = Some(Recovered { head, index, last });
                    Ok(())
                }
            };
        }
        let Some(Recovered { index, .. }) = recovered else {
            return Err(self.damaged(offset, "it has no head".into()));
        };
        match record {
            Record::Entry(entry, start, len) => {
                if entry.log_id.index != index.next() {
                    let what = format!("entry {} where {} is expected", entry.log_id.index, index.next());
                    return Err(self.damaged(offset, what));
                }
                let crc = crc32fast::hash(&payload[start..start + len]);
                let at = offset + (FRAME_HEADER + start) as u64;
                index.push(
                    entry,
                    Some(Location {
                        segment: self.number,
                        offset: at,
                        len: len as u32,
                        crc,
                    }),
                );
            }
            Record::Vote(vote) => index.vote = Some(vote),
            Record::Truncate(after) => index.truncate_after((after != u64::MAX).then_some(after)),
            Record::Purge(upto) => index.purge(upto),
            Record::Committed(id) => index.committed = Some(id),
            Record::Head(_) => {}
        }
        Ok(())
    }

    fn damaged(&self, offset: u64, what: String) -> OpenError {
        OpenError::Damaged {
            file: self.path.to_path_buf(),
            offset,
            what,
        }
    }
}

enum Frame {
    Good(Bytes),
    End,
    Torn(String),
}

/// A write that a crash interrupted leaves whole sectors as they were before: zero.
fn has_missing_sector(payload: &[u8], start: u64) -> bool {
    let first = (SECTOR as u64 - start % SECTOR as u64) as usize % SECTOR;
    let missing = |bytes: &[u8]| !bytes.is_empty() && bytes.iter().all(|byte| *byte == 0);
    let (head, rest) = payload.split_at(first.min(payload.len()));
    missing(head) || rest.chunks(SECTOR).any(missing)
}
