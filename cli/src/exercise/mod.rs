//! Exercises: a text that is shown, run and checked from one source (`labs/NN-name/lab.yaml`).
//!
//! `model` is the file as written, `load` finds and checks it, `vars` puts values into it; `world` is the lab that it
//! happens in, `act` does, `check` looks, `traffic` writes through all of it, `diagnosis` says why a check is red;
//! `runner` goes through the steps, `timeline` is what happened; `auto`, `prove` and `learn` are the three ways to use
//! one, `report` and `page`, with its `picture`, what is left.
pub mod act;
pub mod args;
pub mod auto;
pub mod check;
pub mod diagnosis;
pub mod learn;
pub mod load;
pub mod model;
pub mod page;
mod picture;
pub mod prove;
pub mod report;
pub mod runner;
pub mod timeline;
pub mod traffic;
pub mod vars;
pub mod world;
