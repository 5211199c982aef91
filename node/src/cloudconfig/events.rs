//! libyaml's events, safely: the one place that holds its parser.
//!
//! It is libyaml itself, translated, since its words and lines are what the original reports. A parser that was written
//! anew panicked on what the fuzzer found.
use std::ffi::CStr;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use libyaml_rs as yaml;

use super::yaml::Mark;

pub enum Event {
    StreamEnd,
    DocumentEnd,
    Alias(String),
    Scalar {
        anchor: Option<String>,
        tag: Option<String>,
        text: String,
        /// Without quotes, so that it may be a number or a truth value.
        plain: bool,
    },
    ListStart(Option<String>),
    MapStart(Option<String>),
    /// Of a list or a map.
    End,
    Other,
}

/// Why there is no next event.
pub struct Failure {
    pub problem: String,
    /// Lines from 0, as libyaml has them; 0 also where it knows none.
    pub line: usize,
    pub context_line: usize,
    pub at: Option<Mark>,
}

pub struct Events<'a> {
    /// In its place for good: it holds pointers to itself.
    parser: Box<MaybeUninit<yaml::yaml_parser_t>>,
    input: PhantomData<&'a [u8]>,
}

impl<'a> Events<'a> {
    pub fn of(text: &'a [u8]) -> Events<'a> {
        let mut parser = Box::new(MaybeUninit::<yaml::yaml_parser_t>::uninit());
        // SAFETY: the parser is made before it is used, and the text outlives it.
        unsafe {
            assert!(yaml::yaml_parser_initialize(parser.as_mut_ptr()).ok, "out of memory");
            yaml::yaml_parser_set_input_string(parser.as_mut_ptr(), text.as_ptr(), text.len() as u64);
        }
        Events {
            parser,
            input: PhantomData,
        }
    }

    pub fn next(&mut self) -> Result<(Event, Mark), Failure> {
        let mut event = MaybeUninit::<yaml::yaml_event_t>::uninit();
        // SAFETY: the parser was made in `of`. A parsed event is whole until it is deleted, and nothing of it is kept.
        unsafe {
            if yaml::yaml_parser_parse(self.parser.as_mut_ptr(), event.as_mut_ptr()).fail {
                return Err(failure(&*self.parser.as_ptr()));
            }
            let read = (read(&*event.as_ptr()), mark((*event.as_ptr()).start_mark));
            yaml::yaml_event_delete(event.as_mut_ptr());
            Ok(read)
        }
    }
}

impl Drop for Events<'_> {
    fn drop(&mut self) {
        // SAFETY: it was made in `of`, and this is its end.
        unsafe { yaml::yaml_parser_delete(self.parser.as_mut_ptr()) };
    }
}

unsafe fn read(event: &yaml::yaml_event_t) -> Event {
    use yaml::yaml_event_type_t as Type;
    // SAFETY: the type says which of the data is there.
    unsafe {
        match event.type_ {
            Type::YAML_STREAM_END_EVENT => Event::StreamEnd,
            Type::YAML_DOCUMENT_END_EVENT => Event::DocumentEnd,
            Type::YAML_ALIAS_EVENT => Event::Alias(text(event.data.alias.anchor).unwrap_or_default()),
            Type::YAML_SCALAR_EVENT => {
                let scalar = &event.data.scalar;
                let bytes = std::slice::from_raw_parts(scalar.value, scalar.length as usize);
                let style = scalar.style == yaml::yaml_scalar_style_t::YAML_PLAIN_SCALAR_STYLE;
                Event::Scalar {
                    anchor: text(scalar.anchor),
                    tag: text(scalar.tag),
                    text: String::from_utf8_lossy(bytes).into_owned(),
                    plain: scalar.plain_implicit && style,
                }
            }
            Type::YAML_SEQUENCE_START_EVENT => Event::ListStart(text(event.data.sequence_start.anchor)),
            Type::YAML_MAPPING_START_EVENT => Event::MapStart(text(event.data.mapping_start.anchor)),
            Type::YAML_SEQUENCE_END_EVENT | Type::YAML_MAPPING_END_EVENT => Event::End,
            _ => Event::Other,
        }
    }
}

fn failure(parser: &yaml::yaml_parser_t) -> Failure {
    let known = parser.error != yaml::yaml_error_type_t::YAML_READER_ERROR;
    // SAFETY: libyaml's own words, which are constants.
    let problem = unsafe { text(parser.problem.cast()) };
    Failure {
        problem: problem.unwrap_or_default(),
        line: parser.problem_mark.line as usize,
        context_line: parser.context_mark.line as usize,
        at: known.then(|| mark(parser.problem_mark)),
    }
}

fn mark(mark: yaml::yaml_mark_t) -> Mark {
    Mark {
        line: mark.line as usize + 1,
        column: mark.column as usize + 1,
    }
}

unsafe fn text(pointer: *const u8) -> Option<String> {
    // SAFETY: either nothing or a text that ends with zero.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer.cast()) }.to_string_lossy().into_owned())
}
