//! The applet table: the name it is called by, or the first argument, picks the program.
fn main() {}
