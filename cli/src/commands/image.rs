//! `lab image`: what nodes are made of.
use std::fs;

use crate::args::Image;
use crate::failure::{Exit, Failure};
use crate::project::cache_home;
use crate::{image, lab, ui};

pub fn run(args: &Image) -> Result<(), Failure> {
    let archive = cache_home().join("images").join(image::archive_name());
    match args {
        Image::Build { force } => {
            if *force {
                let _ = fs::remove_file(&archive);
            }
            ui::lines(&lab::image()?.archive.display().to_string());
            Ok(())
        }
        Image::Add { file } => {
            let copy = || {
                fs::create_dir_all(archive.parent().unwrap_or(&archive))?;
                let new = archive.with_extension("new");
                fs::copy(file, &new)?;
                fs::rename(new, &archive)
            };
            copy().map_err(|error| {
                Failure::new(
                    Exit::Failed,
                    "the image cannot be added",
                    file.display(),
                    error,
                    "ls -l FILE",
                )
            })
        }
        Image::Path => {
            ui::lines(&lab::archive().display().to_string());
            Ok(())
        }
    }
}
