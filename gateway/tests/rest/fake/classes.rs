//! Its classes: deployed, promoted, rolled back.

use bytes::Bytes;
use oprc_mesh::catalog::{Canary, Class, Method, Param};
use oprc_mesh::id::Digest;
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::{DeployCanary, Deployed, RollBack};

use super::Fake;

impl Fake {
    /// Changes a class of the catalog, and gives it as it is then.
    fn change(&self, name: &str, change: impl FnOnce(&mut Class)) -> Result<Class, Problem> {
        let changed = {
            let mut view = self.view.lock().unwrap();
            view.revision += 1;
            let class = view.classes.iter_mut().find(|class| class.name == name);
            let class = class.ok_or_else(|| Problem::new(Code::NotFound, "no such class"))?;
            change(class);
            class.clone()
        };
        self.announce();
        Ok(changed)
    }

    pub(super) fn put_canary(&self, wish: &DeployCanary) -> Result<Deployed, Problem> {
        let share = wish.share;
        let class = self.change(&wish.deploy.class, |class| {
            let (version, digest) = (class.version + 1, wish.deploy.digest.clone());
            let settings = wish.deploy.settings.clone();
            let variant = Class { version, digest, settings, canary: None, ..class.clone() };
            class.canary = Some(Box::new(Canary { share, class: variant }));
        })?;
        let (class, revision) = (class.canary.unwrap().class, self.view().revision);
        Ok(Deployed { class, revision, canary: share, ..Deployed::default() })
    }

    pub(super) fn promote(&self, name: &str) -> Result<Deployed, Problem> {
        if self.view().class(name).is_some_and(|class| class.canary.is_none()) {
            return Err(Problem::new(Code::Conflict, "no canary"));
        }
        let class = self.change(name, |class| *class = class.canary.take().unwrap().class)?;
        Ok(Deployed { class, revision: self.view().revision, ..Deployed::default() })
    }

    /// Deploys an earlier version again.
    pub(super) fn roll_back(&self, wish: &RollBack) -> Result<Deployed, Problem> {
        let absent = || Problem::new(Code::NotFound, "no such version");
        let history = self.history.lock().unwrap().clone();
        let before = match wish.to {
            None => history.iter().rev().nth(1).cloned(),
            Some(version) => history.iter().find(|class| class.version == version).cloned(),
        };
        let before = before.filter(|class| class.name == wish.class).ok_or_else(absent)?;
        let deployed = self.put_class(&wish.class, Digest::from_bytes(&before.digest)?, before.settings);
        self.announce();
        Ok(deployed)
    }

    pub(crate) fn put_class(
        &self,
        name: &str,
        digest: Digest,
        settings: oprc_mesh::catalog::ClassSettings,
    ) -> Deployed {
        let mut view = self.view.lock().unwrap();
        let known = view.class(name).cloned();
        if let Some(class) = &known
            && class.digest == digest.as_bytes()[..]
            && class.settings == settings
        {
            let class = class.clone();
            return Deployed { class, unchanged: true, revision: view.revision, ..Deployed::default() };
        }
        view.revision += 1;
        let by = Param { name: "by".into(), ty: "u64".into() };
        let class = Class {
            id: 1,
            name: name.into(),
            grid: "default".into(),
            revision: view.revision,
            version: known.map_or(1, |class| class.version + 1),
            digest: Bytes::copy_from_slice(digest.as_bytes()),
            settings,
            methods: vec![
                Method { name: "increment".into(), params: vec![by], result: "u64".into(), readonly: false },
                Method { name: "reset".into(), params: Vec::new(), result: String::new(), readonly: false },
            ],
            generic: false,
            serves_http: false,
            deployed_at_ms: 1_700_000_000_000,
            canary: None,
        };
        view.classes.retain(|class| class.name != name);
        view.classes.push(class.clone());
        view.classes.sort_by(|a, b| a.name.cmp(&b.name));
        self.history.lock().unwrap().push(class.clone());
        Deployed { class, revision: view.revision, ..Deployed::default() }
    }
}
