//! fleet: units spread over machines. `schema` is the API's JSON.
pub mod schema;
