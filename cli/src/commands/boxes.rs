//! `lab box`: Vagrant's verbs for boxes, with resumed downloads, checksums and many versions.
use std::path::Path;

use serde_json::json;

use crate::args::{BoxVerb, Format};
use crate::boxes::catalog::{Catalog, Release};
use crate::boxes::checksum::Checksum;
use crate::boxes::download;
use crate::boxes::source::Source;
use crate::boxes::store::{Installed, Store};
use crate::boxes::version::{Constraint, Version};
use crate::commands::vagrant;
use crate::config::resolved::Settings;
use crate::failure::{Exit, Failure};
use crate::flags::{BoxAdd, BoxList, BoxOutdated, BoxPrune, BoxRemove, BoxUpdate};
use crate::lab::Lab;
use crate::project::Project;
use crate::render::vagrantfile;
use crate::vagrant::Vagrant;
use crate::{lab, ui};

/// Of a box that came without a catalog.
const NO_VERSION: &str = "0";

pub fn run(verb: &BoxVerb) -> Result<(), Failure> {
    let project = Project::find()?;
    if project.record()?.is_some()
        && let Some(vagrant) = Vagrant::of(&Lab::existing()?)
    {
        return vagrant::boxes(&vagrant, verb);
    }
    let store = Store::of_user();
    match verb {
        BoxVerb::Add(args) => add(&store, args),
        BoxVerb::List(args) => list(&store, args),
        BoxVerb::Update(args) => update(&store, args),
        BoxVerb::Outdated(args) => outdated(&store, args),
        BoxVerb::Remove(args) => remove(&store, args),
        BoxVerb::Prune(args) => prune(&store, args),
    }
}

fn settings() -> Result<Settings, Failure> {
    lab::of_here()
}

fn failed(what: impl Into<String>, place: &str, why: impl std::fmt::Display, todo: &str) -> Failure {
    Failure::new(Exit::Failed, what, place, why, todo)
}

fn installed(store: &Store) -> Result<Vec<Installed>, Failure> {
    store
        .list()
        .map_err(|error| Failure::io("read", &store.downloads(), &error))
}

fn describe(installed: &Installed) -> String {
    format!("{} ({}, {})", installed.name, installed.provider, installed.version)
}

/// A box file that is wanted, and what is known of it.
struct Wanted<'a> {
    name: &'a str,
    version: Version,
    source: Source,
    provider: Option<String>,
    checksum: Option<Checksum>,
    force: bool,
}

fn add(store: &Store, args: &BoxAdd) -> Result<(), Failure> {
    let (name, text) = match &args.file {
        Some(file) => (Some(&args.source), file.clone()),
        None => (
            args.name.as_ref(),
            of_lab(&args.source)?.unwrap_or_else(|| args.source.clone()),
        ),
    };
    let source = Source::parse(&text);
    let wrong = |why: String| {
        let todo = "lab box add PATH-OR-URL of a catalog, or lab box add --name NAME PATH-OR-URL of a box";
        failed(format!("the box {} cannot be added", args.source), &text, why, todo)
    };
    let typed = match (&args.checksum_type, &args.checksum) {
        (Some(kind), Some(digest)) => Some(Checksum::new(kind, digest).map_err(wrong)?),
        _ => None,
    };
    match source.catalog().map_err(wrong)? {
        Some(catalog) => {
            let constraint = args.box_version.clone().unwrap_or_default();
            let release = catalog.newest(&constraint, args.provider.as_deref()).map_err(wrong)?;
            install_release(store, &source, &catalog, release, typed, args.force).map(drop)
        }
        None => {
            let name = name.ok_or_else(|| wrong("a box that comes without a catalog needs a name".into()))?;
            if args.box_version.is_some() {
                return Err(wrong(
                    "a box that comes without a catalog has no version to choose".into(),
                ));
            }
            let version = NO_VERSION.parse().map_err(wrong)?;
            let (provider, force) = (args.provider.clone(), args.force);
            install(
                store,
                Wanted {
                    name,
                    version,
                    source,
                    provider,
                    checksum: typed,
                    force,
                },
            )
            .map(drop)
        }
    }
}

/// Where the lab's own box is, if that is its name.
fn of_lab(name: &str) -> Result<Option<String>, Failure> {
    if name.contains(['/', '.']) {
        return Ok(None);
    }
    let settings = settings()?;
    Ok(vagrantfile::box_url(&settings).filter(|_| vagrantfile::box_name(&settings) == name))
}

fn install_release(
    store: &Store,
    catalog_at: &Source,
    catalog: &Catalog,
    release: Release,
    typed: Option<Checksum>,
    force: bool,
) -> Result<Installed, Failure> {
    let wrong = |why: String| {
        failed(
            format!("{} {} cannot be added", catalog.name, release.version),
            &catalog_at.absolute(),
            why,
            "correct the catalog",
        )
    };
    let checksum = match typed {
        Some(checksum) => Some(checksum),
        None => release.provider.checksum().map_err(wrong)?,
    };
    let wanted = Wanted {
        name: &catalog.name,
        version: release.version.clone(),
        source: catalog_at.join(&release.provider.url).map_err(wrong)?,
        provider: Some(release.provider.name.clone()),
        checksum,
        force,
    };
    let installed = install(store, wanted)?;
    let noted = store.set_metadata_url(&catalog.name, &catalog_at.absolute());
    noted.map_err(|error| Failure::io("write", &store.path(&installed), &error))?;
    Ok(installed)
}

fn install(store: &Store, wanted: Wanted) -> Result<Installed, Failure> {
    let Wanted {
        name,
        version,
        source,
        provider,
        checksum,
        force,
    } = wanted;
    refuse_name(name)?;
    let have = |have: &Installed| {
        have.name == name
            && have.version == version
            && provider.as_ref().is_none_or(|provider| have.provider == *provider)
    };
    if let Some(have) = installed(store)?.into_iter().find(have).filter(|_| !force) {
        return Err(failed(
            format!("the box {} is installed already", describe(&have)),
            &store.path(&have).display().to_string(),
            "a box is not replaced unasked",
            "add --force to install it again",
        ));
    }
    let place = source.absolute();
    let what = format!("the box {name} cannot be added");
    let again = "try again; what has arrived is kept and not fetched twice";
    let (file, download) = match &source {
        Source::File(path) => (path.clone(), None),
        Source::Url(url) => {
            ui::note(&format!("fetching {url}"));
            let bar = ui::Bytes::new(name);
            let got = download::get(url, &store.downloads(), |have, total| bar.set(have, total));
            let got = got.map_err(|why| failed(&what, &place, why, again))?;
            (got.path().to_path_buf(), Some(got))
        }
    };
    let result = check(&file, checksum.as_ref())
        .and_then(|()| store.install(&file, name, &version, provider.as_deref()))
        .map_err(|why| {
            failed(
                &what,
                &place,
                why,
                "get the file anew, or correct its checksum or the catalog",
            )
        });
    // Wrong bytes are not gone on with.
    if let Some(download) = download {
        download.remove();
    }
    let installed = result?;
    ui::lines(&format!("added {}", describe(&installed)));
    Ok(installed)
}

/// It becomes a directory's.
fn refuse_name(name: &str) -> Result<(), Failure> {
    let sound =
        !name.is_empty() && !name.starts_with('.') && !name.contains(['\\', '\0', '\n']) && !name.contains("..");
    match sound {
        true => Ok(()),
        false => Err(failed(
            format!("{name:?} is no name for a box"),
            "--name",
            "it becomes a directory's",
            "take another name",
        )),
    }
}

fn check(file: &Path, checksum: Option<&Checksum>) -> Result<(), String> {
    let Some(checksum) = checksum else { return Ok(()) };
    let reader = std::fs::File::open(file).map_err(|error| error.to_string())?;
    let received = checksum.compute(reader).map_err(|error| error.to_string())?;
    match received == checksum.digest {
        true => Ok(()),
        false => Err(format!(
            "its {} checksum is not the one that was promised\nExpected: {}\nReceived: {received}",
            checksum.kind, checksum.digest
        )),
    }
}

fn list(store: &Store, args: &BoxList) -> Result<(), Failure> {
    let boxes = installed(store)?;
    ui::lines(&match args.format {
        Format::Json => {
            let row = |have: &Installed| {
                json!({
                    "name": have.name, "provider": have.provider, "version": have.version.to_string(),
                    "path": store.path(have), "catalog": store.metadata_url(&have.name),
                })
            };
            json!({ "boxes": boxes.iter().map(row).collect::<Vec<_>>() }).to_string()
        }
        Format::Table if boxes.is_empty() => format!("no boxes; {} adds one", ui::command("box add PATH-OR-URL")),
        Format::Table => boxes.iter().map(describe).collect::<Vec<_>>().join("\n"),
    });
    Ok(())
}

/// The newest of each provider.
fn newest(boxes: &[Installed]) -> Vec<Installed> {
    let is_newest = |have: &&Installed| {
        let same = |other: &&Installed| other.name == have.name && other.provider == have.provider;
        boxes.iter().filter(same).all(|other| other.version <= have.version)
    };
    boxes.iter().filter(is_newest).cloned().collect()
}

/// What a catalog has that is newer than this.
fn newer(store: &Store, have: &Installed) -> Result<Option<(Source, Catalog, Release)>, String> {
    let url = store
        .metadata_url(&have.name)
        .ok_or("it wasn't added from a catalog, no version information")?;
    let source = Source::parse(&url);
    let catalog = source.catalog().map_err(|why| format!("{url}: {why}"))?;
    let catalog = catalog.ok_or_else(|| format!("{url} is no catalog any more"))?;
    let constraint: Constraint = format!("> {}", have.version).parse()?;
    // Nothing newer is no error.
    let release = catalog.newest(&constraint, Some(&have.provider)).ok();
    Ok(release.map(|release| (source, catalog, release)))
}

fn update(store: &Store, args: &BoxUpdate) -> Result<(), Failure> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => vagrantfile::box_name(&settings()?),
    };
    let mut boxes = newest(&installed(store)?);
    boxes.retain(|have| have.name == name && args.provider.as_ref().is_none_or(|provider| have.provider == *provider));
    let todo = format!("lab box add it first; {} shows what there is", ui::command("box list"));
    let have = match boxes.as_slice() {
        [have] => have,
        [] => {
            return Err(failed(
                format!("the box {name} is not installed"),
                "lab box list",
                "there is nothing to update",
                &todo,
            ));
        }
        several => {
            let providers: Vec<&str> = several.iter().map(|have| have.provider.as_str()).collect();
            let why = format!("it is installed for several providers: {}", providers.join(", "));
            return Err(failed(
                format!("which {name} is meant?"),
                "lab box list",
                why,
                "add --provider PROVIDER",
            ));
        }
    };
    ui::note(&format!("checking for updates of {}", describe(have)));
    let found = newer(store, have);
    let found = found.map_err(|why| {
        failed(
            format!("{} cannot be updated", describe(have)),
            &name,
            why,
            "lab box outdated",
        )
    })?;
    match found {
        None => ui::lines(&format!("{} is the newest", describe(have))),
        Some((source, catalog, release)) => {
            ui::lines(&format!("updating {} to {}", describe(have), release.version));
            install_release(store, &source, &catalog, release, None, false)?;
        }
    }
    Ok(())
}

/// Never fails for a catalog that is not to be had: what it says of the others is as good.
fn outdated(store: &Store, args: &BoxOutdated) -> Result<(), Failure> {
    let mut boxes = newest(&installed(store)?);
    if !args.global {
        let name = vagrantfile::box_name(&settings()?);
        boxes.retain(|have| have.name == name);
        if boxes.is_empty() {
            ui::lines(&format!("the lab's box {name} is not installed; --global looks at all"));
        }
    }
    for have in &boxes {
        let (name, provider, version) = (&have.name, &have.provider, &have.version);
        ui::lines(&match newer(store, have) {
            Ok(None) => format!("* '{name}' for '{provider}' ({version}) is up to date"),
            Ok(Some((_, _, release))) => {
                format!(
                    "* '{name}' for '{provider}' is outdated! Current: {version}. Latest: {}",
                    release.version
                )
            }
            Err(why) => format!("* '{name}' for '{provider}' ({version}) cannot be checked: {why}"),
        });
    }
    Ok(())
}

fn remove(store: &Store, args: &BoxRemove) -> Result<(), Failure> {
    let provider = args.only.as_ref().or(args.provider.as_ref());
    let mut boxes = installed(store)?;
    boxes.retain(|have| have.name == args.name);
    let todo = ui::command("box list");
    let missing = |what: String| {
        failed(
            format!("{what} is not installed"),
            "lab box list",
            "there is nothing to remove",
            &todo,
        )
    };
    if boxes.is_empty() {
        return Err(missing(format!("the box {}", args.name)));
    }
    let all: Vec<String> = boxes.iter().map(describe).collect();
    boxes.retain(|have| provider.is_none_or(|provider| have.provider == *provider));
    boxes.retain(|have| {
        args.box_version
            .as_ref()
            .is_none_or(|version| have.version.to_string() == *version)
    });
    if boxes.is_empty() {
        return Err(missing(format!("that version or provider of {}", args.name)));
    }
    if boxes.len() > 1 && !args.all {
        let several_providers = boxes.iter().any(|have| have.provider != boxes[0].provider);
        let todo = if several_providers {
            "add --provider PROVIDER, or --all"
        } else {
            "add --box-version VERSION, or --all"
        };
        return Err(failed(
            format!("which {} is meant?", args.name),
            "lab box list",
            all.join("\n"),
            todo,
        ));
    }
    for have in &boxes {
        delete(store, have)?;
    }
    Ok(())
}

fn delete(store: &Store, have: &Installed) -> Result<(), Failure> {
    store
        .remove(have)
        .map_err(|error| Failure::io("remove", &store.path(have), &error))?;
    ui::lines(&format!("removed {}", describe(have)));
    Ok(())
}

fn prune(store: &Store, args: &BoxPrune) -> Result<(), Failure> {
    let settings = settings()?;
    let boxes = installed(store)?;
    let newest = newest(&boxes);
    let pinned = |have: &Installed| {
        have.name == vagrantfile::box_name(&settings) && have.version.to_string() == settings.image_version.value
    };
    let mut removed = 0;
    for have in &boxes {
        let meant = args.name.as_ref().is_none_or(|name| have.name == *name)
            && args.provider.as_ref().is_none_or(|provider| have.provider == *provider);
        if !meant || newest.contains(have) {
            continue;
        }
        if pinned(have) && !args.force {
            ui::lines(&format!(
                "kept {}: the lab here is set to it; --force removes it",
                describe(have)
            ));
            continue;
        }
        removed += 1;
        match args.dry_run {
            true => ui::lines(&format!("would remove {}", describe(have))),
            false => delete(store, have)?,
        }
    }
    if removed == 0 {
        ui::lines("no old versions to remove");
    }
    Ok(())
}
