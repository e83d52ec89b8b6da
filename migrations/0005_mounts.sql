-- Folders below a root on which a disk was mounted: without it, its photos are away, not deleted.

create table mount (
  root_id integer not null references root (id) on delete cascade,
  path blob not null,             -- relative to the root, in the file system's own bytes
  primary key (root_id, path)
) strict, without rowid;
