"""Small archives of the field's data sets, laid out as their authors distribute them."""

import contextlib
import functools
import http.server
import io
import json
import shutil
import threading
import zipfile

import numpy as np
import PIL.Image
import scipy.io
import tensorflow_datasets as tfds

from jxhash.data.builders import base, mirflickr25k, prepared


@functools.cache
def picture(number, kind="JPEG"):
    pixels = np.random.default_rng(number).integers(0, 256, (12, 16, 3), np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def write(folder, files):
    """Writes files by path: text as UTF-8, bytes as they are."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        content = content if isinstance(content, bytes) else content.encode()
        (folder / path).write_bytes(content)


def zip_folder(folder, file, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(file, "w", compression) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder.parent))
    shutil.rmtree(folder)


def build(builder_class, config, tmp_path, manual="manual"):
    builder = builder_class(config=config, data_dir=tmp_path / "prepared")
    options = tfds.download.DownloadConfig(manual_dir=tmp_path / manual, try_download_gcs=False)
    builder.download_and_prepare(download_config=options)
    return prepared.open_pairs(builder.data_path)


MIR_TAGS = {
    1: "sea\nsky\n",
    2: "sky\r\nzürich\r\n",
    3: "sea\n",
    4: "rare\n",
    5: "",
    6: "zürich\nsky\n",
    7: "sky\n",
    8: "sea\nonly\n\nonly\n",
}


MIR_LABELS = {"sky": [1, 2, 4], "sea": [1, 3, 5], "night": [6, 8]}  # 7 has none


MIR = mirflickr25k.Config(name="small", num_pictures=8, min_pictures=2)


def write_mirflickr(manual):
    files = {f"mirflickr/im{n}.jpg": picture(n) for n in MIR_TAGS}
    files |= {f"mirflickr/meta/tags/tags{n}.txt": tags for n, tags in MIR_TAGS.items()}
    for name in mirflickr25k.LABELS:
        lines = "".join(f"{number}\n" for number in MIR_LABELS.get(name, []))
        files[f"mirflickr25k_annotations_v080/{name}.txt"] = lines
    files["mirflickr25k_annotations_v080/sky_r1.txt"] = "7\n"
    files["mirflickr25k_annotations_v080/README.txt"] = "labels"
    write(manual, files)


NUS = base.Config(name="small", num_labels=2, num_pictures=6, num_words=3)


NUS_FILES = [f"actor\\000{n}_90{n}.jpg" for n in range(6)]


def write_nuswide(manual):
    concepts = {
        "airport": [0, 0, 0, 0, 0, 1],
        "clouds": [1, 1, 0, 0, 1, 0],
        "grass": [0, 0, 0, 1, 0, 0],
        "sky": [1, 0, 1, 0, 0, 1],
    }
    tags = ["sun red", "red", "", "tree", "näive sun", "sun tree"]
    bags = ["1\t0\t1", "0\t0\t1", "0\t0\t0", "0\t1\t0", "1\t0\t0", "1\t1\t0"]
    files = {
        "ConceptsList/Concepts81.txt": "".join(f"{name}\n" for name in concepts),
        "ImageList/Imagelist.txt": "".join(f"{file} \r\n" for file in NUS_FILES),
        "NUS_WID_Tags/TagList1k.txt": "sun\ntree\nred\n",
        "NUS_WID_Tags/AllTags1k.txt": "".join(f"{bag}\t\n" for bag in bags),
        "NUS_WID_Tags/All_Tags.txt": "".join(f"90{n}      {t} \n" for n, t in enumerate(tags)),
    }
    for name, marks in concepts.items():
        lines = "".join(f"{mark}\n" for mark in marks)
        files[f"Groundtruth/AllLabels/Labels_{name}.txt"] = lines
    for number, file in enumerate(NUS_FILES):
        files["Flickr/" + file.replace("\\", "/")] = picture(number, "PNG")
    write(manual, files)


COCO = base.Config(name="small", num_words=4)


def coco_parts():
    parts = {}
    for part, numbers in (("train2014", (30, 9)), ("val2014", (42, 11))):
        images = [{"id": n, "file_name": f"COCO_{part}_{n:012}.jpg", "height": 12} for n in numbers]
        captions = [
            {"id": 100 * n + k, "image_id": n, "caption": f"A dog,\n\nnumber {n} "}
            for k in range(2)
            for n in numbers
        ]
        outline = [[float(value) for value in range(20)]]
        objects = [
            {"id": n, "image_id": n, "category_id": 90 - n, "segmentation": outline, "bbox": [1.5]}
            for n in numbers
            if n != 11
        ]
        categories = [{"id": i, "name": f"thing {i}"} for i in (81, 60, 48)]
        parts[part] = (
            {"info": {}, "images": images, "annotations": objects, "categories": categories},
            {"info": {}, "images": images, "annotations": captions},
        )
    return parts


def write_coco(manual, parts):
    for part, (instances, captions) in parts.items():
        files = {f"{part}/COCO_{part}_{n:012}.jpg": picture(n) for n in (9, 30, 11, 42)}
        files[f"annotations/instances_{part}.json"] = json.dumps(instances)
        files[f"annotations/captions_{part}.json"] = json.dumps(captions)
        write(manual, files)


IAPR = base.Config(name="small", num_pictures=4, num_labels=3, num_words=3)


IAPR_TEXTS = {
    25: "a café in the\n park;",
    26: "a park &amp; trees",
    1025: "a tree",
    1026: "the trees in a park",
}


def write_iapr(manual):
    files = {
        "benchmark/wlist.txt": "1\tcafe\n7\ttree\n9\tunused\n12\tpark\n",
        "benchmark/saiapr_tc-12/00/labels.txt": "25\t1\t1\n25\t2\t12\n26\t1\t7\n26\t2\t7\n",
        "benchmark/saiapr_tc-12/01/labels.txt": "1025 1 7\n1026 1 7\n1026 2 12\n",
    }
    for number, text in IAPR_TEXTS.items():
        folder = f"{number // 1000:02}"
        files[f"iaprtc12/images/{folder}/{number}.jpg"] = picture(number)
        annotation = (
            f"<DOC>\n<DOCNO>annotations/{folder}/{number}.eng</DOCNO>\n<TITLE>x</TITLE>\n"
            f"<DESCRIPTION>{text}</DESCRIPTION>\n<NOTES></NOTES>\n</DOC>\n"
        )
        path = f"iaprtc12/annotations_complete_eng/{folder}/{number}.eng"
        files[path] = annotation.encode("latin-1")
    write(manual, files)


WIKI = base.Config(name="small", num_words=3)


CLASSES = [f"class{n}" for n in range(1, 11)]


def write_wikipedia(manual):
    generator = np.random.default_rng(0)
    files = {"wikipedia_dataset/categories.list": "\n".join(CLASSES) + "\n"}
    arrays = {}
    for suffix, name, numbers in (("tr", "train", (1, 2, 3)), ("te", "test", (4, 5))):
        arrays[f"I_{suffix}"] = generator.random((len(numbers), 128))
        arrays[f"T_{suffix}"] = generator.random((len(numbers), 10))
        rows = "".join(f"text-{n}\timage{n}\t{n}\n" for n in numbers)
        files[f"wikipedia_dataset/{name}set_txt_img_cat.list"] = rows
        for n in numbers:
            files[f"wikipedia_dataset/images/{CLASSES[n - 1]}/image{n}.jpg"] = picture(n)
            files[f"wikipedia_dataset/texts/text-{n}.xml"] = (
                f"<?xml version='1.0'?>\n<article><title>T</title><text>The battle\n of "
                f"<i>{n}</i> &amp; more{' aa ab ac' * (name == 'test')}</text></article>"
            )
    write(manual, files)
    scipy.io.savemat(manual / "wikipedia_dataset/raw_features.mat", arrays)
    return arrays


PASCAL = base.Config(name="small", num_pictures=3, num_labels=2, num_texts=2, num_words=2)


def write_pascal(manual):
    rows = []
    for n, folder in ((8, "dog"), (3, "boat"), (5, "dog")):
        rows.append(
            f'<tr><td><img src="{folder}/2008_{n}.jpg"></td>\n<td><table>\n'
            f"<tr><td> A <b>{folder}</b>\n of {n} &amp; more. </td></tr>\n"
            "<tr><td>Nothing here</td></tr>\n</table></td></tr>\n"
        )
        write(manual, {f"pascal-sentences/{folder}/2008_{n}.jpg": picture(n)})
    page = f"<html><head><title>Sentences</title></head><body><table>{''.join(rows)}</table>"
    write(manual, {"pascal-sentences/index.html": page})


FLICKR = base.Config(name="small", num_pictures=2, num_texts=2, num_words=3)


CAPTIONS = "77.jpg#1\tA dog .\n77.jpg#0\tDog runs .\n5.jpg#0\tTwo men .\n5.jpg#1\tMen in a park .\n"


def write_flickr(manual, captions=CAPTIONS):
    write(manual, {f"flickr30k-images/{n}.jpg": picture(n) for n in (5, 77)})
    write(manual, {"flickr30k/results_20130124.token": captions})


FLICKR8K = base.Config(name="small", num_pictures=4, num_texts=2, num_words=4)


# Beside the listed pictures there is one that no list has, as in the archive.
CAPTIONS8K = (
    "".join(
        f"{n}_0a.jpg#{place}\t{text}\n"
        for n, texts in {
            7: ("A red gull .", "The gull flies ."),
            3: ("A dog .", "The black dog runs ."),
            9: ("A gull and a dog .", "Two animals ."),
            4: ("The red dog .", "A dog ."),
        }.items()
        for place, text in enumerate(texts)
    )
    + "11_0b.jpg.1#0\tA twin .\n"
)


def write_flickr8k(
    manual, captions=CAPTIONS8K, lists=("7_0a.jpg\n3_0a.jpg\n", "9_0a.jpg", "4_0a.jpg")
):
    write(manual, {f"Flicker8k_Dataset/{n}_0a.jpg": picture(n) for n in (3, 4, 7, 9)})
    zip_folder(manual / "Flicker8k_Dataset", manual / "Flickr8k_Dataset.zip")
    write(manual, {"Flickr8k_text/Flickr8k.token.txt": captions})
    for name, content in zip(("train", "dev", "test"), lists, strict=True):
        write(manual, {f"Flickr8k_text/Flickr_8k.{name}Images.txt": content})
    with zipfile.ZipFile(manual / "Flickr8k_text.zip", "w") as archive:
        for path in sorted((manual / "Flickr8k_text").iterdir()):
            archive.write(path, path.name)
    shutil.rmtree(manual / "Flickr8k_text")


@contextlib.contextmanager
def served(folder):
    """A folder at an address."""
    handler = functools.partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass
